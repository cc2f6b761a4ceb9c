//! Every metric that the code names is in docs/operations.md, and none that it does not name.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

const PAGE: &str = "docs/operations.md";

/// Metrics that are missing on either side, in words.
pub fn differences(root: &Path) -> Result<Vec<String>> {
    let mut named = BTreeSet::new();
    for entry in std::fs::read_dir(root.join("crates"))? {
        let sources = entry?.path().join("src");
        if sources.is_dir() && !sources.starts_with(root.join("crates/xtask")) {
            read_folder(&sources, &mut named)?;
        }
    }
    let page = std::fs::read_to_string(root.join(PAGE)).with_context(|| PAGE.to_owned())?;
    let described: BTreeSet<String> = names(&page, '`').collect();
    let missing = named.difference(&described).map(|name| format!("{PAGE} does not describe the metric {name}"));
    let stale = described.difference(&named).map(|name| format!("{PAGE} describes {name}, which no code names"));
    Ok(missing.chain(stale).collect())
}

fn read_folder(folder: &Path, named: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(&path, named)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            named.extend(names(&text, '"'));
        }
    }
    Ok(())
}

/// The names of our metrics that stand between two `quote`s in `text`.
fn names(text: &str, quote: char) -> impl Iterator<Item = String> {
    text.split(quote).filter(|word| is_metric(word)).map(str::to_owned)
}

fn is_metric(word: &str) -> bool {
    word.strip_prefix("antiphon_").is_some_and(|rest| {
        // Crates are named alike; metrics say a unit or a thing in two words at least.
        rest.contains('_') && rest.chars().all(|character| character.is_ascii_lowercase() || character == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_told_from_other_words() {
        let text =
            r#"counter!("antiphon_results_total"); name("antiphon_platform"); "antiphon_x y" "antiphon_Queue_a""#;
        assert_eq!(names(text, '"').collect::<Vec<_>>(), ["antiphon_results_total"]);
    }
}
