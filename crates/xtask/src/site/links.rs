//! Where links of the documentation lead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::{Document, options};
use crate::generate::root;

/// The largest file that is laid beside the pages, in bytes.
const LARGEST: u64 = 2_000_000;

/// What a link leads to.
pub enum Target {
    /// A page, a heading, or another site.
    Address(String),
    /// A file that lies beside the pages.
    File {
        /// From the root of the tree.
        path: String,
        /// From the page.
        from_here: String,
    },
    /// Something of the tree that has no page.
    Name,
}

/// Headings in order: their words, and what they are linked by, which is what GitHub makes of them: small letters, digits,
/// `-` and `_`, a hyphen for each space, and a number behind what was there before.
pub fn headings(text: &str) -> Vec<(String, String)> {
    let mut headings: Vec<(String, String)> = Vec::new();
    let mut words: Option<String> = None;
    let mut before: BTreeMap<String, usize> = BTreeMap::new();
    for event in Parser::new_ext(text, options()) {
        match event {
            Event::Start(Tag::Heading { .. }) => words = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let Some(title) = words.take() else { continue };
                let slug: String = title
                    .to_lowercase()
                    .chars()
                    .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
                    .map(|letter| if letter == ' ' { '-' } else { letter })
                    .collect();
                let times = before.entry(slug.clone()).or_default();
                let anchor = if *times == 0 { slug } else { format!("{slug}-{times}") };
                *times += 1;
                headings.push((title, anchor));
            }
            Event::Text(more) | Event::Code(more) => {
                if let Some(words) = &mut words {
                    words.push_str(&more);
                }
            }
            _ => (),
        }
    }
    headings
}

/// The page of a document, from the root of the site.
pub fn page(path: &str) -> PathBuf {
    let path = Path::new(path);
    if path.file_name().is_some_and(|name| name == "README.md") {
        path.with_file_name("index.html")
    } else {
        path.with_extension("html")
    }
}

/// `../` as often as leads from a document's folder to the root.
pub fn up_to_root(path: &str) -> String {
    "../".repeat(path.matches('/').count())
}

/// What a link of the document at `from` leads to; a fault says what it lacks.
pub fn target(from: &str, link: &str, documents: &BTreeMap<String, Document>) -> Result<Target, String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(Target::Address(link.to_owned()));
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { from.to_owned() } else { resolved(from, file)? };
    let readme = if path.is_empty() { String::from("README.md") } else { format!("{path}/README.md") };
    if let Some(document) = documents.get(&path).or_else(|| documents.get(&readme)) {
        let suffix = match anchor {
            Some(anchor) if !document.anchors.contains(anchor) => {
                return Err(format!("{link}: {} has no heading #{anchor}", document.path));
            }
            Some(anchor) => format!("#{anchor}"),
            None => String::new(),
        };
        return Ok(Target::Address(format!("{}{}{suffix}", up_to_root(from), page(&document.path).display())));
    }
    let found = std::fs::metadata(root().join(&path)).map_err(|_| format!("{link}: there is no {path}"))?;
    if found.is_file() && found.len() <= LARGEST {
        return Ok(Target::File { from_here: format!("{}{path}", up_to_root(from)), path });
    }
    Ok(Target::Name)
}

/// A link's path from the root of the tree.
fn resolved(from: &str, link: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => (),
            ".." => {
                parts.pop().ok_or_else(|| format!("{link}: leads out of the tree"))?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_linked_as_github_links_them() {
        let text =
            "# `level`: Sound levels, peak\n## Over a broker: AMQP and MQTT\n## A\n## A\n```\n# no heading\n```\n";
        let expected = ["level-sound-levels-peak", "over-a-broker-amqp-and-mqtt", "a", "a-1"];
        assert_eq!(headings(text).into_iter().map(|(_, anchor)| anchor).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn paths_go_up_and_down_but_not_out() {
        assert_eq!(resolved("docs/guides/a.md", "../b/./c.md").unwrap(), "docs/b/c.md");
        assert_eq!(resolved("docs/a.md", "..").unwrap(), "");
        assert!(resolved("docs/a.md", "../../etc/passwd").is_err());
    }

    #[test]
    fn pages_lie_where_documents_do() {
        assert_eq!(page("README.md"), Path::new("index.html"));
        assert_eq!(page("docs/decisions/README.md"), Path::new("docs/decisions/index.html"));
        assert_eq!(page("docs/algorithms/level.md"), Path::new("docs/algorithms/level.html"));
        assert_eq!(up_to_root("docs/algorithms/level.md"), "../../");
    }
}
