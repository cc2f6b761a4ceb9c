//! What is around every page: head, navigation, choices, headers.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use maud::{DOCTYPE, Markup, html};

use crate::Web;
use crate::api::wants_page;
use crate::assets;
use crate::chart;
use crate::failure::Failure;
use crate::page::{Page, Section};
use crate::paths::escaped;
use crate::session::Role;
use crate::visitor::{Theme, Visitor};
use crate::words::isolated;

/// Scripts, styles, pictures and requests come from this server, and from nowhere else; nothing inline is run or applied.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// First segments of paths that belong to programs (API.md); there, no page is shown to anybody.
const RESERVED: [&str; 10] =
    ["api", "livez", "readyz", "metrics", "docs", "openmusic", "rest", "hello", "current_time", "healthcheck"];

/// Gives handlers their visitor, and their pages a frame.
pub async fn dress(State(web): State<Web>, visitor: Visitor, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(visitor.clone());
    let mut response = next.run(request).await;
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        if failure == Failure::KeyNeeded {
            return to_sign_in(&visitor);
        }
        if let Failure::Away(why) = &failure {
            tracing::warn!(why, "a page could not be made: the API does not answer");
        }
        return framed(&web, &visitor, failure.page());
    }
    match response.extensions_mut().remove::<Page>() {
        Some(page) => framed(&web, &visitor, page),
        None => response,
    }
}

/// What is no route, for people: a page. Programs get the problem document that it is.
pub async fn no_such_page(
    State(web): State<Web>,
    visitor: Visitor,
    uri: Uri,
    headers: HeaderMap,
    response: Response,
) -> Response {
    let first = uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    if response.status() != StatusCode::NOT_FOUND || RESERVED.contains(&first) || !wants_page(&headers) {
        return response;
    }
    framed(&web, &visitor, Failure::not_found("nothing is at this address").page())
}

fn to_sign_in(visitor: &Visitor) -> Response {
    let next = escaped(&visitor.here);
    Redirect::to(&format!("/sign-in?next={next}")).into_response()
}

fn framed(web: &Web, visitor: &Visitor, page: Page) -> Response {
    let status = page.status;
    let html = document(web, visitor, &page).into_string();
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::VARY, HeaderValue::from_static("Cookie"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

fn document(web: &Web, visitor: &Visitor, page: &Page) -> Markup {
    let theme = Theme::ALL.iter().find(|(theme, _)| *theme == visitor.theme).map_or("system", |(_, word)| word);
    let now = antiphon_platform::http::time::format(web.now());
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(theme) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content=(match visitor.theme {
                    Theme::System => "light dark",
                    Theme::Light => "light",
                    Theme::Dark => "dark",
                });
                title { (isolated(&page.title)) " · Antiphon" }
                link rel="icon" type="image/svg+xml" href=(assets::path("mark.svg"));
                link rel="stylesheet" href=(assets::path("antiphon.css"));
                @if let Some(seconds) = page.again { meta http-equiv="refresh" content=(seconds); }
                script type="module" src=(assets::path("frame.js")) {}
                @for script in page.scripts { script type="module" src=(assets::path(script)) {} }
            }
            body data-zone=(visitor.zone.name()) data-chose-utc[visitor.chose_utc] data-now=(now) {
                a.skip href="#main" { "Skip to the content" }
                (chart::gap_pattern())
                header.top {
                    a.brand href="/" aria-label="Antiphon: what is heard now" { (mark()) span { "Antiphon" } }
                    (navigation(visitor, page.section))
                    (who(visitor))
                }
                p.lost #lost role="status" hidden {}
                main #main tabindex="-1" { (page.body) }
                (foot(visitor))
            }
        }
    }
}

/// Two voices: one calls, one answers.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            path d="M3 9.5v5M6.5 6v12M10 9v6" {}
            path.answer d="M14 9v6M17.5 4v16M21 8.5v7" {}
        }
    }
}

fn navigation(visitor: &Visitor, current: Option<Section>) -> Markup {
    let mut entries = vec![("/", "Now", Some(Section::Now)), ("/songs", "Songs", Some(Section::Songs))];
    if visitor.role() == Some(Role::Operator) {
        entries.push(("/dead-letters", "Dead letters", Some(Section::Letters)));
    }
    entries.extend([("/algorithms", "Algorithms", Some(Section::Algorithms)), ("/docs", "API", None)]);
    html! {
        nav aria-label="Main" {
            ul {
                @for (path, name, section) in entries {
                    li {
                        a href=(path) aria-current=[(section.is_some() && section == current).then_some("page")] { (name) }
                    }
                }
            }
        }
    }
}

fn who(visitor: &Visitor) -> Markup {
    html! {
        div.who {
            @match visitor.role() {
                None => { a href={ "/sign-in?next=" (escaped(&visitor.here)) } { "Sign in" } }
                Some(role) => {
                    form method="post" action="/sign-out" {
                        input type="hidden" name="token" value=(visitor.token);
                        span.role { (if role == Role::Operator { "Operator" } else { "Reader" }) }
                        button.plain type="submit" { "Sign out" }
                    }
                }
            }
        }
    }
}

fn foot(visitor: &Visitor) -> Markup {
    let zone = visitor.zone.name();
    html! {
        footer {
            form.choices method="post" action="/choices" {
                input type="hidden" name="next" value=(visitor.here);
                fieldset {
                    legend { "Appearance" }
                    @for (theme, word) in Theme::ALL {
                        button type="submit" name="theme" value=(word) aria-pressed=(visitor.theme == theme) {
                            (match theme { Theme::System => "System", Theme::Light => "Light", Theme::Dark => "Dark" })
                        }
                    }
                }
                fieldset {
                    legend { "Times" }
                    button type="submit" name="times" value="local" aria-pressed=(!visitor.chose_utc) { "Local" }
                    button type="submit" name="times" value="utc" aria-pressed=(visitor.chose_utc) { "UTC" }
                }
            }
            p.quiet #zone {
                "Times are of " strong { (zone.replace('_', " ")) }
                @if zone != "UTC" { "; each shows UTC when you point at it" }
                "."
            }
        }
    }
}
