//! The documentation as pages to read in a browser: every Markdown file of the tree, with its links checked.

mod links;
#[path = "../../web/src/markdown.rs"]
mod markdown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag};

use crate::generate::root;
use links::{Target, up_to_root};

/// A file of Markdown.
struct Document {
    /// Where it lies, from the root of the tree.
    path: String,
    /// Its first heading.
    title: String,
    /// What its headings are linked by.
    anchors: BTreeSet<String>,
    text: String,
}

/// Parts of the navigation, and what belongs to each: a file by its name, a folder by its name with `/` behind. What
/// belongs to none is found by links alone.
const PARTS: [(&str, &[&str]); 5] = [
    ("Start", &["README.md", "docs/guides/"]),
    ("Run it", &["docs/operations.md", "docs/guarantees.md"]),
    ("What is computed", &["docs/algorithms.md", "docs/accuracy.md", "docs/benchmarks.md"]),
    ("How it is built", &["ARCHITECTURE.md", "docs/decisions/README.md"]),
    ("Work on it", &["CONTRIBUTING.md", "CHANGELOG.md"]),
];

/// Writes all pages to `target`, which must not exist or be a site; fails if a link leads nowhere.
pub fn write(target: &Path) -> Result<()> {
    let documents = documents()?;
    if target.exists() {
        if !target.join("antiphon.css").exists() {
            bail!("{} is no site: name a folder that does not exist", target.display());
        }
        std::fs::remove_dir_all(target).with_context(|| format!("cannot empty {}", target.display()))?;
    }
    let mut copied = BTreeSet::new();
    let mut faults = Vec::new();
    for document in documents.values() {
        let (body, linked) = body(document, &documents, &mut faults);
        put(&target.join(links::page(&document.path)), page(document, &documents, &body).into_string().as_bytes())?;
        copied.extend(linked);
    }
    if !faults.is_empty() {
        bail!("links that lead nowhere:\n  {}", faults.join("\n  "));
    }
    for file in &copied {
        put(&target.join(file), &std::fs::read(root().join(file)).with_context(|| format!("cannot read {file}"))?)?;
    }
    let style = std::fs::read_to_string(root().join("crates/web/assets/antiphon.css")).context("the pages' style")?;
    put(&target.join("antiphon.css"), (style + include_str!("site/site.css")).as_bytes())?;
    put(&target.join("mark.svg"), &std::fs::read(root().join("crates/web/assets/mark.svg")).context("the mark")?)?;
    println!("{} pages and {} files in {}", documents.len(), copied.len(), target.display());
    Ok(())
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Every Markdown file that is kept, or will be, by its path.
fn documents() -> Result<BTreeMap<String, Document>> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"])
        .current_dir(root())
        .output()
        .context("git ls-files")?;
    let listed = String::from_utf8(listed.stdout).context("git ls-files")?;
    let mut documents = BTreeMap::new();
    for path in listed.lines().filter(|path| root().join(path).exists()) {
        let text = std::fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))?;
        documents.insert(path.to_owned(), document(path, text));
    }
    if documents.is_empty() {
        bail!("no Markdown was found");
    }
    Ok(documents)
}

fn document(path: &str, text: String) -> Document {
    let headings = links::headings(&text);
    let title = headings.first().map_or_else(|| path.to_owned(), |(title, _)| title.clone());
    Document { path: path.to_owned(), title, anchors: headings.into_iter().map(|(_, anchor)| anchor).collect(), text }
}

fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES
}

/// The text as HTML, and the files beside Markdown that it links to. Links that lead nowhere are added to `faults`.
fn body(
    document: &Document,
    documents: &BTreeMap<String, Document>,
    faults: &mut Vec<String>,
) -> (String, BTreeSet<String>) {
    let mut anchors = links::headings(&document.text).into_iter();
    let mut copied = BTreeSet::new();
    let lead = |link: &str| match links::target(&document.path, link, documents) {
        Ok(Target::File { path, from_here }) => {
            copied.insert(path);
            Some(from_here)
        }
        Ok(Target::Address(address)) => Some(address),
        // A folder, or a file too large to lie beside the pages: its name is all that a reader needs.
        Ok(Target::Name) => None,
        Err(fault) => {
            faults.push(format!("{}: {fault}", document.path));
            None
        }
    };
    let events = Parser::new_ext(&document.text, options()).map(|event| match event {
        Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
            let id = anchors.next().map(|(_, anchor)| CowStr::from(anchor));
            Event::Start(Tag::Heading { level, id, classes, attrs })
        }
        other => other,
    });
    (markdown::to_html(events, lead), copied)
}

fn page(document: &Document, documents: &BTreeMap<String, Document>, body: &str) -> Markup {
    let up = up_to_root(&document.path);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { @if document.path == "README.md" { "Antiphon" } @else { (document.title) " · Antiphon" } }
                link rel="icon" type="image/svg+xml" href={ (up) "mark.svg" };
                link rel="stylesheet" href={ (up) "antiphon.css" };
            }
            body.site {
                a.skip href="#main" { "Skip to the content" }
                header.top { a.brand href={ (up) "index.html" } { img src={ (up) "mark.svg" } alt="" width="28" height="28"; "Antiphon" } }
                div.columns {
                    (navigation(document, documents, &up))
                    main.prose #main tabindex="-1" { (PreEscaped(body)) }
                }
                footer { p.quiet { (document.path) } }
            }
        }
    }
}

fn navigation(here: &Document, documents: &BTreeMap<String, Document>, up: &str) -> Markup {
    html! {
        nav aria-label="Documentation" {
            @for (part, members) in PARTS {
                h2 { (part) }
                ul {
                    @for document in members.iter().flat_map(|member| belonging(member, documents)) {
                        li {
                            a href={ (up) (links::page(&document.path).display()) }
                                aria-current=[(document.path == here.path).then_some("page")] { (document.title) }
                        }
                    }
                }
            }
        }
    }
}

fn belonging<'a>(member: &str, documents: &'a BTreeMap<String, Document>) -> Vec<&'a Document> {
    documents
        .values()
        .filter(|document| match member.strip_suffix('/') {
            Some(folder) => Path::new(&document.path).parent() == Some(Path::new(folder)),
            None => document.path == member,
        })
        .collect()
}

/// Where pages are written if nothing else is said.
pub fn default_target() -> PathBuf {
    root().join("target/site")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> BTreeMap<String, Document> {
        let texts = [
            ("README.md", "# Top\n\nSee [the guide](docs/a.md#what-is-here), [it](docs/), [nothing](docs/b.md), <b>."),
            ("docs/a.md", "# A\n\n## What is *here*?\n\n[up](../README.md) [no part](../README.md#bottom)\n"),
        ];
        texts.into_iter().map(|(path, text)| (path.to_owned(), document(path, text.to_owned()))).collect()
    }

    #[test]
    fn links_to_documents_become_links_to_pages() {
        let documents = two();
        let mut faults = Vec::new();
        let (html, _) = body(&documents["README.md"], &documents, &mut faults);
        assert!(html.contains("<a href=\"docs/a.html#what-is-here\">the guide</a>"), "{html}");
        let (html, _) = body(&documents["docs/a.md"], &documents, &mut faults);
        assert!(
            html.contains("<h2 id=\"what-is-here\">") && html.contains("<a href=\"../index.html\">up</a>"),
            "{html}"
        );
    }

    #[test]
    fn links_that_lead_nowhere_are_told() {
        let documents = two();
        let mut faults = Vec::new();
        for document in documents.values() {
            body(document, &documents, &mut faults);
        }
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("docs/b.md") && faults[1].contains("#bottom"), "{faults:?}");
    }

    #[test]
    fn every_guide_is_in_the_navigation() {
        let documents = documents().unwrap();
        let html = navigation(&documents["README.md"], &documents, "").into_string();
        for path in documents.keys().filter(|path| path.starts_with("docs/guides/") && path.matches('/').count() == 2) {
            assert!(html.contains(&links::page(path).display().to_string()), "{path}");
        }
        assert!(html.contains("aria-current=\"page\""));
    }
}
