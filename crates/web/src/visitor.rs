//! Who looks at a page, and how he wants it: from cookies and headers, once a request.

use antiphon_platform::http::{ClientAddress, Stopping};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use chrono_tz::Tz;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use percent_encoding::percent_decode_str;

use crate::Web;
use crate::failure::Failure;
use crate::session::{Role, SignedIn, cookie};

/// The cookies of choices. The script writes the zone of the browser, which no header says.
pub const THEME: &str = "antiphon-theme";
/// See [`THEME`].
pub const TIMES: &str = "antiphon-times";
/// See [`THEME`].
pub const ZONE: &str = "antiphon-zone";

/// Dark or light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the machine is set.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Each with its word in cookies and forms.
    pub const ALL: [(Self, &'static str); 3] = [(Self::System, "system"), (Self::Light, "light"), (Self::Dark, "dark")];

    /// The theme of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(theme, _)| *theme)
    }
}

/// Who looks at a page.
#[derive(Clone)]
pub struct Visitor {
    /// With which key.
    signed_in: Option<SignedIn>,
    /// What his forms carry; empty for who is not signed in.
    pub token: String,
    /// Dark or light.
    pub theme: Theme,
    /// The zone of the times that he is shown.
    pub zone: Tz,
    /// Whether he chose UTC over his own zone.
    pub chose_utc: bool,
    /// Whether the browser's own zone is known.
    pub zone_is_known: bool,
    /// Where he is.
    pub address: ClientAddress,
    /// Fires when the server stops.
    pub stopping: Stopping,
    /// Path and query of the page, to come back to.
    pub here: String,
}

impl Visitor {
    fn of(web: &Web, parts: &Parts) -> Self {
        let headers = &parts.headers;
        let (signed_in, token) = web.sessions().open(headers).unzip();
        let chose_utc = cookie(headers, TIMES) == Some("utc");
        let own = cookie(headers, ZONE).and_then(|zone| percent_decode_str(zone).decode_utf8().ok()?.parse().ok());
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        let here = parts.uri.path_and_query().filter(|_| reads).map_or("/", |here| here.as_str());
        Self {
            signed_in,
            token: token.unwrap_or_default(),
            theme: cookie(headers, THEME).and_then(Theme::of).unwrap_or_default(),
            zone: own.filter(|_| !chose_utc).unwrap_or(Tz::UTC),
            chose_utc,
            zone_is_known: own.is_some(),
            address: parts.extensions.get().copied().unwrap_or(ClientAddress(None)),
            stopping: parts.extensions.get().cloned().unwrap_or_default(),
            here: here.to_owned(),
        }
    }

    /// What his key may do; none without a key.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.signed_in.as_ref().map(|signed_in| signed_in.role)
    }

    /// His key, as the API wants it.
    #[must_use]
    pub fn authorization(&self) -> Option<HeaderValue> {
        self.signed_in.as_ref()?.authorization()
    }

    /// The same visitor with a key that he wants to sign in with.
    #[must_use]
    pub fn with(&self, signed_in: SignedIn) -> Self {
        Self { signed_in: Some(signed_in), ..self.clone() }
    }
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Failure> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let visitor = Self::of(web, parts);
        parts.extensions.insert(visitor.clone());
        Ok(visitor)
    }
}

/// Whether another site made the browser send this.
#[must_use]
pub fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return !matches!(site, "same-origin" | "none");
    }
    let host = text(header::HOST).unwrap_or_default();
    text(header::ORIGIN).is_some_and(|origin| origin.split_once("://").is_none_or(|(_, origin)| origin != host))
}

/// Gives requests for data, which scripts and downloads of the pages make, the key of the visitor's cookie. It reads only: what
/// changes something goes through forms, which carry a token.
pub async fn with_key_of_cookie(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let reads = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let headers = request.headers();
    let by_cookie = reads && !headers.contains_key(header::AUTHORIZATION) && !is_foreign(headers);
    let key = if by_cookie { web.sessions().open(headers) } else { None };
    let is_by_cookie = key.is_some();
    if let Some(value) = key.and_then(|(signed_in, _)| signed_in.authorization()) {
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    // Neither this process's API nor another one has a use for it.
    request.headers_mut().remove(header::COOKIE);
    let mut response = next.run(request).await;
    if is_by_cookie {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Cookie"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_other_sites_are_told() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)));
            is_foreign(&HeaderMap::from_iter(pairs))
        };
        assert!(!of(&[]), "programs say nothing");
        assert!(!of(&[("sec-fetch-site", "same-origin")]) && !of(&[("sec-fetch-site", "none")]));
        assert!(of(&[("sec-fetch-site", "cross-site")]) && of(&[("sec-fetch-site", "same-site")]));
        assert!(!of(&[("host", "a:8470"), ("origin", "http://a:8470")]));
        assert!(of(&[("host", "a:8470"), ("origin", "http://b")]) && of(&[("host", "a"), ("origin", "null")]));
    }
}
