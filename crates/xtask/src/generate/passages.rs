//! Passages of `docs/accuracy.md` and `docs/benchmarks.md` that stand on the pages of algorithms as well. What was measured is
//! written down there and nowhere else.
//!
//! `<!-- pages KIND: NAME, NAME -->` begins a passage that the pages of these algorithms quote as a whole; `<!-- pages KIND -->` one
//! with tables, of which each page quotes the rows whose first cell names its algorithm or an output of it, as code.
//! `<!-- /pages -->` ends it.

use std::path::Path;

use antiphon_features::find;
use anyhow::{Context, Result, bail};

/// What a passage tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// How near it is to its reference.
    Parity,
    /// How often it is right where the truth is known.
    Accuracy,
    /// How near parts of a recording are to the whole.
    Pieces,
    /// What computing it takes.
    Cost,
}

/// A passage of a page of `docs/`.
#[derive(Debug)]
struct Passage {
    kind: Kind,
    /// Algorithms whose pages quote all of it; none: rows by their first cell.
    algorithms: Vec<String>,
    lines: Vec<String>,
}

/// All passages of the pages that have any.
pub struct Passages(Vec<Passage>);

impl Passages {
    /// Reads the pages.
    pub fn read(root: &Path) -> Result<Passages> {
        let mut passages = Vec::new();
        for page in ["accuracy.md", "benchmarks.md"] {
            let text =
                std::fs::read_to_string(root.join("docs").join(page)).with_context(|| format!("no docs/{page}"))?;
            passages.extend(passages_of(page, &text).with_context(|| format!("docs/{page}"))?);
        }
        Ok(Passages(passages))
    }

    /// What the page of an algorithm quotes; empty if there is nothing of that kind.
    pub fn of(&self, algorithm: &str, kind: Kind) -> Result<String> {
        let mut quoted = Vec::new();
        for passage in self.0.iter().filter(|passage| passage.kind == kind) {
            if passage.algorithms.is_empty() {
                quoted.extend(rows(&passage.lines, algorithm)?);
            } else if passage.algorithms.iter().any(|name| name == algorithm) {
                quoted.push(passage.lines.join("\n").trim().to_owned());
            }
        }
        Ok(quoted.join("\n\n"))
    }
}

fn passages_of(page: &str, text: &str) -> Result<Vec<Passage>> {
    let mut passages: Vec<Passage> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if line == "<!-- /pages -->" {
            if !open {
                bail!("line {number} ends what did not begin");
            }
            open = false;
        } else if let Some(what) = line.strip_prefix("<!-- pages ").and_then(|rest| rest.strip_suffix(" -->")) {
            if open {
                bail!("line {number} begins a passage within another");
            }
            open = true;
            passages.push(heading(what).with_context(|| format!("line {number}"))?);
        } else if line.contains("<!-- pages") || line.contains("<!-- /pages") {
            bail!("line {number} is neither the beginning nor the end of a passage");
        } else if open {
            if line.starts_with('#') {
                bail!("line {number} is a heading: passages lie between headings");
            }
            let moved = moved(page, line);
            passages.last_mut().context("a passage is open")?.lines.push(moved);
        }
    }
    if open {
        bail!("the last passage has no end");
    }
    Ok(passages)
}

fn heading(what: &str) -> Result<Passage> {
    let (kind, names) = what.split_once(": ").map_or((what, None), |(kind, names)| (kind, Some(names)));
    let kind = match kind {
        "parity" => Kind::Parity,
        "accuracy" => Kind::Accuracy,
        "pieces" => Kind::Pieces,
        "cost" => Kind::Cost,
        other => bail!("there is no kind {other:?} of passages"),
    };
    let algorithms: Vec<String> = names.into_iter().flat_map(|names| names.split(", ")).map(str::to_owned).collect();
    if let Some(unknown) = algorithms.iter().find(|name| find(name).is_none()) {
        bail!("there is no algorithm {unknown:?}");
    }
    Ok(Passage { kind, algorithms, lines: Vec::new() })
}

/// A line with links that lead from `docs/algorithms/` to where they led from `docs/`.
fn moved(page: &str, line: &str) -> String {
    let mut parts = line.split("](");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("](");
        if part.starts_with('#') {
            out.push_str(&format!("../{page}"));
        } else if !part.starts_with("http") {
            out.push_str("../");
        }
        out.push_str(part);
    }
    out
}

/// The tables with the rows that name an algorithm; tables without such rows are left out.
fn rows(lines: &[String], algorithm: &str) -> Result<Vec<String>> {
    let is_row = |line: &str| line.starts_with('|');
    let mut tables = Vec::new();
    for table in lines.chunk_by(|a, b| is_row(a) == is_row(b)).filter(|lines| is_row(&lines[0])) {
        let [title, rule, rows @ ..] = table else { bail!("{:?} is no table", table[0]) };
        let named: Vec<&str> = rows.iter().filter(|row| names(row, algorithm)).map(String::as_str).collect();
        let Some(first) = named.first() else { continue };
        if first.split('|').any(|cell| cell.trim().starts_with("the same")) {
            bail!("the first row about {algorithm} says \"the same\" of a row that its page does not have: {first}");
        }
        tables.push(format!("{title}\n{rule}\n{}", named.join("\n")));
    }
    Ok(tables)
}

/// Whether the first cell of a row names an algorithm or an output of it, as code.
fn names(row: &str, algorithm: &str) -> bool {
    let cell = row.split('|').nth(1).unwrap_or_default();
    let is_its = |code: &str| code.strip_prefix(algorithm).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    cell.split('`').skip(1).step_by(2).any(is_its)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Accuracy\n\n<!-- pages parity -->\n| what | worst |\n|---|---|\n| `level.a`, `mel` | 1 [x](#y) |\n\
                        | `level.c` | the same |\n| `mel` | 3 |\n<!-- /pages -->\n\n<!-- pages accuracy: key, mel -->\n\
                        See [there](../evaluation/README.md).\n\n| tool | F |\n|---|---|\n| ours | 1 |\n<!-- /pages -->\n";

    fn of(algorithm: &str, kind: Kind) -> Result<String> {
        Passages(passages_of("accuracy.md", PAGE)?).of(algorithm, kind)
    }

    #[test]
    fn pages_quote_their_rows_and_passages() {
        let table = "| what | worst |\n|---|---|\n| `level.a`, `mel` | 1 [x](../accuracy.md#y) |\n";
        assert_eq!(of("level", Kind::Parity).unwrap(), format!("{table}| `level.c` | the same |"));
        assert_eq!(of("mel", Kind::Parity).unwrap(), format!("{table}| `mel` | 3 |"));
        assert_eq!(of("melody", Kind::Parity).unwrap(), "");
        let accuracy = of("key", Kind::Accuracy).unwrap();
        assert!(accuracy.starts_with("See [there](../../evaluation/README.md).") && accuracy.ends_with("| ours | 1 |"));
        assert_eq!(of("level", Kind::Accuracy).unwrap(), "");
    }

    #[test]
    fn what_would_be_wrong_on_a_page_is_refused() {
        let error = |text: &str| format!("{:#}", passages_of("accuracy.md", text).unwrap_err());
        assert!(error("<!-- pages parity -->\n").contains("no end"));
        assert!(error("<!-- /pages -->").contains("line 1 ends"));
        assert!(error("<!-- pages parity: nothing -->\n<!-- /pages -->").contains("no algorithm \"nothing\""));
        assert!(error("<!-- pages speed -->").contains("no kind \"speed\""));
        assert!(error("<!-- pages cost -->\n## Next\n").contains("a heading"));
        assert!(error("<!--pages cost-->\n<!-- pages-->").contains("neither"));
        let lost = [String::from("| a | b |"), String::from("|---|---|"), String::from("| `mel` | the same |")];
        assert!(rows(&lost, "mel").unwrap_err().to_string().contains("does not have"));
    }
}
