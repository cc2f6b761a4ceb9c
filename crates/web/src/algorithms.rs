//! What can be computed: the registry as the API tells it, and of each of our own its page of the documentation.

use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{Options, Parser};

use crate::Web;
use crate::failure::Failure;
use crate::markdown;
use crate::model::{Algorithm, List};
use crate::page::{Page, Section};
use crate::paths::escaped;
use crate::visitor::Visitor;

/// An algorithm's page and picture, as `cargo xtask generate` writes them.
macro_rules! documented {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../docs/algorithms/", $name, ".md")),
            include_str!(concat!("../../../docs/algorithms/", $name, ".svg")))),+]
    };
}

/// Every page of the folder: name, text, picture.
static DOCUMENTED: [(&str, &str, &str); 21] = documented![
    "beat_track",
    "chroma",
    "chroma_cqt",
    "fingerprint",
    "hpss",
    "indices",
    "key",
    "level",
    "loudness",
    "mel",
    "melody",
    "mfcc",
    "mfcc_top_db",
    "onset",
    "onset_detect",
    "pitch",
    "rhythm",
    "silence",
    "spectral",
    "tempogram",
    "waveform",
];

/// The pages as HTML, made once.
static PAGES: LazyLock<Vec<(&str, String)>> =
    LazyLock::new(|| DOCUMENTED.iter().map(|(name, text, _)| (*name, to_html(text))).collect());

/// The list.
pub async fn list(State(web): State<Web>, visitor: Visitor) -> Result<Page, Failure> {
    let known: List<Algorithm> = web.api().get(&visitor, "/api/v1/algorithms?limit=1000").await?;
    let mut families: Vec<&str> = known.items.iter().map(|algorithm| algorithm.family.as_str()).collect();
    families.sort_unstable();
    families.dedup();
    let body = html! {
        h1 { "Algorithms" }
        p.lead { "What this server finds in sound: each with its definition, a picture, how near it is to its reference, and what it costs." }
        @for (number, family) in families.into_iter().enumerate() {
            section.family aria-labelledby={ "family-" (number) } {
                h2 id={ "family-" (number) } { (family) }
                ul.tiles {
                    @for algorithm in known.items.iter().filter(|algorithm| algorithm.family == family) {
                        li {
                            a href={ "/algorithms/" (escaped(&algorithm.name)) } { code { (algorithm.name) } }
                            p { (algorithm.title) }
                        }
                    }
                }
            }
        }
    };
    Ok(Page::new("Algorithms", body).of(Section::Algorithms))
}

/// One algorithm.
pub async fn show(State(web): State<Web>, visitor: Visitor, Path(name): Path<String>) -> Result<Page, Failure> {
    let path = format!("/api/v1/algorithms/{}", escaped(&name));
    let algorithm: Algorithm = web.api().get(&visitor, &path).await?;
    let written = PAGES.iter().find(|(known, _)| *known == algorithm.name).map(|(_, html)| html);
    let body = html! {
        p.trail { a href="/algorithms" { "Algorithms" } }
        @match written {
            Some(html) => { div.prose { (PreEscaped(html)) } }
            None => { (described(&algorithm)) }
        }
        p.downloads { "The same for programs: " a href=(path) { code { (path) } } }
    };
    Ok(Page::new(algorithm.name.clone(), body).of(Section::Algorithms))
}

/// One that is a program of others: what it told of itself.
fn described(algorithm: &Algorithm) -> Markup {
    html! {
        h1 { code { (algorithm.name) } ": " (algorithm.title) }
        p { (algorithm.about) }
        p.quiet { "Family " (algorithm.family) ", version " (algorithm.version) ". It is a program of others, beside this server's own." }
        div.scrollable tabindex="0" role="region" aria-label="Outputs" {
            table.rows {
                thead { tr { th scope="col" { "Output" } th scope="col" { "What it is" } th scope="col" { "Kind" } th scope="col" { "Unit" } } }
                tbody {
                    @for output in &algorithm.outputs {
                        tr { th scope="row" { code { (output.name) } } td { (output.title) } td { (output.kind) } td { (output.unit) } }
                    }
                }
            }
        }
        @for reference in &algorithm.references { p.quiet { "Reference: " (reference) } }
        @if !algorithm.plans.is_empty() { p { "It is in these sets: " (algorithm.plans.join(", ")) "." } }
    }
}

/// What an algorithm finds, as a picture.
pub async fn picture(Path(name): Path<String>) -> Result<Response, Failure> {
    let found = DOCUMENTED.iter().find(|(known, ..)| *known == name);
    let (_, _, svg) = found.ok_or_else(|| Failure::not_found("there is no picture of this algorithm"))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
        // Maps of colours are pictures inside of it.
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; img-src data:")),
    ];
    Ok((headers, *svg).into_response())
}

/// A page of the documentation as a part of a page here: pictures and links lead to where they are here, those to files that
/// are not here are words.
fn to_html(text: &str) -> String {
    let html = markdown::to_html(Parser::new_ext(text, Options::ENABLE_TABLES), target);
    html.replace("Generated by <code>cargo xtask generate</code>; do not edit. ", "")
}

fn target(link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with('#') {
        return Some(link.to_owned());
    }
    if link == "../algorithms.md" {
        return Some(String::from("/algorithms"));
    }
    let (name, part) = match link.rsplit_once('.')? {
        (name, "md") => (name, ""),
        (name, "svg") => (name, "/picture.svg"),
        _ => return None,
    };
    DOCUMENTED.iter().any(|(known, ..)| *known == name).then(|| format!("/algorithms/{name}{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_folder_is_here() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/algorithms");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().path().with_extension("").file_name()?.to_str().map(str::to_owned))
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, DOCUMENTED.iter().map(|(name, ..)| (*name).to_owned()).collect::<Vec<_>>());
    }

    #[test]
    fn a_page_is_html_whose_links_lead_somewhere_here() {
        for (name, html) in PAGES.iter() {
            assert!(html.contains("<h1>") && html.contains("<table>") && html.contains("Cost"), "{name}");
            assert!(html.contains(&format!("src=\"/algorithms/{name}/picture.svg\"")), "{name}");
            assert!(!html.contains(".md\"") && !html.contains("<script") && !html.contains(" style="), "{name}");
        }
    }
}
