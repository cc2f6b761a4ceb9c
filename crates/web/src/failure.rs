//! What goes wrong while a page is made, and the page that says so and what to do.

use antiphon_platform::http::Problem;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::html;
use serde::Deserialize;

use crate::page::Page;

/// Why there is no page.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The API wants a key, or a valid one: the visitor is asked for it.
    KeyNeeded,
    /// The API, or a form, said no.
    Refused {
        /// The status.
        status: StatusCode,
        /// What is wrong.
        detail: String,
        /// What to do, or the nearest name.
        hint: Option<String>,
    },
    /// Nobody answers, or not now.
    Away(String),
}

/// What of a problem document is shown.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    detail: String,
    #[serde(default)]
    hint: Option<String>,
}

impl Failure {
    /// A refusal of the API.
    #[must_use]
    pub fn refused(status: StatusCode, body: &[u8]) -> Self {
        let said = serde_json::from_slice(body).unwrap_or(Said { detail: String::new(), hint: None });
        let reason = || status.canonical_reason().unwrap_or("error").to_lowercase();
        let detail = if said.detail.is_empty() { reason() } else { said.detail };
        match status {
            StatusCode::UNAUTHORIZED => Self::KeyNeeded,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                Self::Away(detail)
            }
            _ => Self::Refused { status, detail, hint: said.hint },
        }
    }

    /// A form or an address that cannot be.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::Refused { status: StatusCode::BAD_REQUEST, detail: detail.into(), hint: None }
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::Refused { status: StatusCode::NOT_FOUND, detail: detail.into(), hint: None }
    }

    /// The API does not answer.
    #[must_use]
    pub fn away(why: impl Into<String>) -> Self {
        Self::Away(why.into())
    }

    /// A fault of ours.
    #[must_use]
    pub fn bug(detail: &str) -> Self {
        Self::Refused { status: StatusCode::INTERNAL_SERVER_ERROR, detail: detail.to_owned(), hint: None }
    }

    /// Whether there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }

    /// The same for programs.
    #[must_use]
    pub fn problem(self) -> Problem {
        match self {
            Self::KeyNeeded => Problem::unauthorized("a key is needed"),
            Self::Refused { status, detail, hint } => Problem::new(status, "refused", detail).hint(hint),
            Self::Away(why) => {
                tracing::warn!(why, "the API does not answer");
                Problem {
                    status: StatusCode::BAD_GATEWAY.as_u16(),
                    ..Problem::unavailable("the API does not answer now")
                }
            }
        }
    }

    /// The page that says it.
    #[must_use]
    pub fn page(&self) -> Page {
        let (status, title) = match self {
            Self::KeyNeeded => (StatusCode::UNAUTHORIZED, "A key is needed"),
            Self::Away(_) => (StatusCode::SERVICE_UNAVAILABLE, "The server does not answer now"),
            Self::Refused { status, .. } => (*status, title_of(*status)),
        };
        let body = html! {
            div.failure {
                p.code aria-hidden="true" { (status.as_u16()) }
                h1 { (title) }
                @match self {
                    Self::KeyNeeded => {
                        p { "These pages are shown to those who have a key of this server." }
                        p { a.button href="/sign-in" { "Sign in" } }
                    }
                    Self::Away(why) => {
                        p { "This page tries again by itself every few seconds; nothing that sensors sent is lost meanwhile." }
                        p.quiet { (why) }
                    }
                    Self::Refused { status, detail, hint } => {
                        p { (sentence(detail)) }
                        @if let Some(hint) = hint { p.quiet { "Hint: " code { (hint) } } }
                        @if *status == StatusCode::FORBIDDEN {
                            p { a.button href="/sign-in" { "Sign in with another key" } }
                        } @else {
                            p { a.button href="/" { "Go to what is heard now" } }
                        }
                    }
                }
            }
        };
        let page = Page::new(title, body).with_status(status);
        if matches!(self, Self::Away(_)) { page.again_after(5) } else { page }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

fn title_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::FORBIDDEN => "This key may not see that",
        StatusCode::TOO_MANY_REQUESTS => "Slower, please",
        status if status.is_client_error() => "This cannot be shown",
        _ => "Something went wrong here",
    }
}

/// A detail as a sentence: problems begin in lower case and have no full stop.
#[must_use]
pub fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if detail.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_refuses_is_understood() {
        let of = |status: u16, body: &str| Failure::refused(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        assert_eq!(of(401, "{}"), Failure::KeyNeeded);
        assert_eq!(
            of(503, r#"{"detail":"the database is away"}"#),
            Failure::Away(String::from("the database is away"))
        );
        let refused = of(404, r#"{"detail":"there is no sensor \"rof\"","hint":"roof"}"#);
        assert!(refused.is_not_found());
        let text = refused.page().body.into_string();
        assert!(text.contains("There is no sensor &quot;rof&quot;.") && text.contains("roof"), "{text}");
        assert!(matches!(of(418, "<html>"), Failure::Refused { detail, .. } if detail == "i'm a teapot"));
    }
}
