//! What visitors send: signing in and out, and how they want pages.

use antiphon_platform::http::read_body;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use maud::html;

use crate::Web;
use crate::failure::Failure;
use crate::page::Page;
use crate::session::{Role, SIGNED_IN};
use crate::visitor::{THEME, TIMES, Theme, Visitor, is_foreign};

/// The largest form, in bytes.
const FORM_LIMIT: usize = 16 * 1024;

/// How long choices are kept, in seconds.
const CHOICES_KEPT: i64 = 400 * 24 * 3_600;

/// The fields of a form.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form that this site's own page sent.
    ///
    /// # Errors
    /// When another site sent it, or it is too large.
    pub async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Failure> {
        if is_foreign(headers) {
            let detail = "this form was sent by a page of another site, so nothing was done";
            return Err(Failure::Refused { status: StatusCode::FORBIDDEN, detail: detail.to_owned(), hint: None });
        }
        let body = read_body(headers, body, FORM_LIMIT).await;
        let body = body.map_err(|problem| Failure::bad_request(problem.detail))?;
        Ok(Self(url::form_urlencoded::parse(&body).into_owned().collect()))
    }

    /// A field; empty if it was not sent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// That the form is one that this visitor was given.
    ///
    /// # Errors
    /// When it carries another token.
    pub fn check_token(&self, visitor: &Visitor) -> Result<(), Failure> {
        // The token is a keyed hash of a cookie that only the visitor has: how long comparing takes tells nobody anything.
        if !visitor.token.is_empty() && self.get("token") == visitor.token {
            return Ok(());
        }
        let detail = "the form is of an earlier sign-in; go back, load the page again and send it once more";
        Err(Failure::Refused { status: StatusCode::FORBIDDEN, detail: detail.to_owned(), hint: None })
    }
}

/// A path of this site, to go to after a form; else the first page.
fn own_path(next: &str) -> &str {
    let is_own = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n', '\t']);
    if is_own && next.is_ascii() { next } else { "/" }
}

/// Goes on to a page, with cookies.
pub fn go_to(path: &str, cookies: &[String]) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    let path = HeaderValue::from_str(own_path(path)).unwrap_or(HeaderValue::from_static("/"));
    headers.insert(header::LOCATION, path);
    for cookie in cookies {
        if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
            cookie.set_sensitive(true);
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// Behind a proxy that speaks TLS with the browser, cookies are for TLS only.
fn secure(headers: &HeaderMap) -> &'static str {
    let is_tls = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    if is_tls { "; Secure" } else { "" }
}

/// Asks for a key.
pub async fn sign_in_page(RawQuery(query): RawQuery, visitor: Visitor) -> Page {
    let pairs = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let next = pairs.into_owned().find(|(name, _)| name == "next").map(|(_, next)| next);
    ask_for_key(&visitor, own_path(next.as_deref().unwrap_or("/")), None)
}

fn ask_for_key(visitor: &Visitor, next: &str, wrong: Option<&str>) -> Page {
    let status = if wrong.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    let body = html! {
        div.narrow {
            h1 { "Sign in" }
            p { "These pages need a key of this server, one for operators or for readers." }
            @if visitor.role().is_some() { p.quiet { "You are signed in. Another key takes the place of the one you use." } }
            form.sign-in method="post" action="/sign-in" {
                input type="hidden" name="next" value=(next);
                // For those that keep keys: they want a name beside a secret.
                input type="text" name="name" value="antiphon" autocomplete="username" hidden;
                label for="key" { "Key" }
                input #key type="password" name="key" required autocomplete="current-password" spellcheck="false"
                    aria-describedby=[wrong.map(|_| "wrong")] aria-invalid=[wrong.map(|_| "true")] autofocus;
                @if let Some(wrong) = wrong { p.wrong #wrong role="alert" { (wrong) } }
                button.button type="submit" { "Sign in" }
            }
            details {
                summary { "Where do I get a key?" }
                p { "The first start of the server showed an operator's key on its terminal, or left it in the file " code { "operator.key" } " of its data folder. With it, others are made:" }
                pre { code { "antiphon key create --role reader" } }
                p { "The key is kept in a sealed cookie of this browser for 30 days, or until you sign out." }
            }
        }
    };
    Page::new("Sign in", body).with_status(status)
}

/// Tries a key, and keeps it in a cookie.
pub async fn sign_in(
    State(web): State<Web>,
    visitor: Visitor,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let form = Form::read(&headers, body).await?;
    let (key, next) = (form.get("key").trim(), own_path(form.get("next")));
    let again = |wrong: &str| Ok(ask_for_key(&visitor, next, Some(wrong)).into_response());
    if key.is_empty() {
        return again("Type or paste a key.");
    }
    let cookie = web.sessions().sign_in(key.to_owned(), Role::Reader)?;
    let trial = HeaderMap::from_iter(HeaderValue::from_str(&cookie).ok().map(|cookie| (header::COOKIE, cookie)));
    let Some((trial, _)) = web.sessions().open(&trial) else { return again("This is no key.") };
    let trial = visitor.with(trial);
    if trial.authorization().is_none() {
        return again("This is no key: keys have letters and digits only.");
    }
    match web.api().bytes(&trial, Method::GET, "/api/v1/sensors?limit=1").await {
        Ok(_) => {}
        Err(Failure::KeyNeeded) => return again("This server does not know that key."),
        Err(Failure::Refused { status: StatusCode::FORBIDDEN, .. }) => {
            return again("That is a sensor's key; it may only send. Pages need a reader's or an operator's key.");
        }
        Err(Failure::Refused { status: StatusCode::TOO_MANY_REQUESTS, .. }) => {
            return again("Too many keys were tried from here. Wait a few seconds, then try again.");
        }
        Err(other) => return Err(other),
    }
    // Only operators may see keys.
    let role = match web.api().bytes(&trial, Method::GET, "/api/v1/keys?limit=1").await {
        Ok(_) => Role::Operator,
        Err(Failure::Refused { .. } | Failure::KeyNeeded) => Role::Reader,
        Err(other) => return Err(other),
    };
    let cookie = web.sessions().sign_in(key.to_owned(), role)?;
    let secure = secure(&headers);
    let cookie = format!("{cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SIGNED_IN}{secure}");
    Ok(go_to(next, &[cookie]))
}

/// Forgets the key.
pub async fn sign_out(
    State(web): State<Web>,
    visitor: Visitor,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let form = Form::read(&headers, body).await?;
    if visitor.role().is_some() {
        form.check_token(&visitor)?;
    }
    let secure = secure(&headers);
    let gone = format!("{}; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secure}", web.sessions().nobody());
    Ok(go_to("/", &[gone]))
}

/// Keeps what was chosen: dark or light, local times or UTC.
pub async fn choose(headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    let form = Form::read(&headers, body).await?;
    let mut cookies = Vec::new();
    let attributes = format!("Path=/; SameSite=Lax; Max-Age={CHOICES_KEPT}{}", secure(&headers));
    if Theme::of(form.get("theme")).is_some() {
        cookies.push(format!("{THEME}={}; HttpOnly; {attributes}", form.get("theme")));
    }
    if matches!(form.get("times"), "local" | "utc") {
        cookies.push(format!("{TIMES}={}; {attributes}", form.get("times")));
    }
    if cookies.is_empty() {
        return Err(Failure::bad_request(
            "nothing was chosen: a theme is system, light or dark, times are local or utc",
        ));
    }
    Ok(go_to(form.get("next"), &cookies))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_lead_to_this_site_only() {
        for own in ["/", "/sensors/roof?from=2026-05-01T00:00:00Z&to=now"] {
            assert_eq!(own_path(own), own);
        }
        for foreign in
            ["", "//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nb"]
        {
            assert_eq!(own_path(foreign), "/", "{foreign:?}");
        }
    }
}
