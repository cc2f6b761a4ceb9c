//! The shape of the workspace, proved from cargo metadata and the tree itself.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Which of our crates each of our crates may name; absences are the rule.
const MAY_USE: [(&str, &[&str]); 14] = [
    (
        "antiphon",
        &[
            "antiphon-analysis",
            "antiphon-audio",
            "antiphon-catalog",
            "antiphon-demo",
            "antiphon-features",
            "antiphon-identity",
            "antiphon-notify",
            "antiphon-platform",
            "antiphon-plot",
            "antiphon-tables",
            "antiphon-web",
        ],
    ),
    (
        "antiphon-analysis",
        &[
            "antiphon-audio",
            "antiphon-catalog",
            "antiphon-features",
            "antiphon-identity",
            "antiphon-notify",
            "antiphon-platform",
            "antiphon-tables",
        ],
    ),
    ("antiphon-notify", &["antiphon-platform"]),
    ("antiphon-catalog", &["antiphon-audio", "antiphon-identity", "antiphon-platform"]),
    ("antiphon-identity", &["antiphon-platform"]),
    ("antiphon-features", &["antiphon-audio"]),
    ("antiphon-audio", &[]),
    ("antiphon-demo", &[]),
    ("antiphon-platform", &[]),
    ("antiphon-plot", &[]),
    ("antiphon-tables", &["antiphon-platform"]),
    // It knows the API by HTTP alone: no capability, no database.
    ("antiphon-web", &["antiphon-platform", "antiphon-plot"]),
    // Support of tests: elsewhere it may be a dev-dependency only, which this rule does not look at.
    ("antiphon-servers", &[]),
    // It describes and draws the registry in docs/algorithms, and starts the servers that a test run shares.
    ("xtask", &["antiphon-audio", "antiphon-features", "antiphon-plot", "antiphon-servers"]),
];

/// Outside crates that only the named crates may use: what reaches an engine stays in `platform`, what writes a format of
/// tables in `tables`.
const ONLY_IN: [(&str, &[&str]); 8] = [
    ("sqlx", &["antiphon-platform"]),
    ("libsqlite3-sys", &["antiphon-platform"]),
    ("lapin", &["antiphon-platform"]),
    ("rdkafka", &["antiphon-platform"]),
    ("object_store", &["antiphon-platform"]),
    ("symphonia", &["antiphon-audio"]),
    ("arrow-array", &["antiphon-tables"]),
    ("parquet", &["antiphon-tables"]),
];

/// What makes a crate a service; `audio` and `features` must be free of it.
const SERVICES: [&str; 5] = ["axum", "tokio", "hyper", "ureq", "antiphon-platform"];

/// Names of direct dependencies (normal and build, not dev) by package name.
pub type Dependencies = BTreeMap<String, Vec<String>>;

/// Reads the direct dependencies of every workspace member.
pub fn dependencies() -> Result<Dependencies> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(crate::generate::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    Ok(metadata
        .packages
        .into_iter()
        .map(|package| {
            let direct = package
                .dependencies
                .into_iter()
                .filter(|dependency| dependency.kind != cargo_metadata::DependencyKind::Development)
                .map(|dependency| dependency.name)
                .collect();
            (package.name.to_string(), direct)
        })
        .collect())
}

/// Every breach of the dependency rule, in words.
pub fn breaches(dependencies: &Dependencies) -> Vec<String> {
    let mut found = Vec::new();
    for (package, direct) in dependencies {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == package) else {
            found.push(format!("{package} has no row in the dependency rule"));
            continue;
        };
        for dependency in direct {
            let ours = dependency == "antiphon" || dependency.starts_with("antiphon-");
            if ours && !allowed.contains(&dependency.as_str()) {
                found.push(format!("{package} may not use {dependency}"));
            }
            if let Some((_, owners)) = ONLY_IN.iter().find(|(name, _)| name == dependency)
                && !owners.contains(&package.as_str())
            {
                found.push(format!("{package} may not use {dependency}: only {} may", owners.join(", ")));
            }
            let library = package == "antiphon-audio" || package == "antiphon-features";
            if library && SERVICES.contains(&dependency.as_str()) {
                found.push(format!("{package} knows nothing of services, but uses {dependency}"));
            }
        }
    }
    found
}

/// Fails when the tree is not as ARCHITECTURE.md says: dependencies, files that must be there, words that must not.
pub fn check() -> Result<()> {
    let mut found = breaches(&dependencies()?);
    let root = crate::generate::root();
    for file in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "Cargo.lock",
        "deny.toml",
    ] {
        if !root.join(file).is_file() {
            found.push(format!("{file} is missing"));
        }
    }
    for folder in ["crates", "fuzz"] {
        forbidden_words(&root.join(folder), &mut found)?;
    }
    found.extend(crate::metrics::differences(&root)?);
    if !found.is_empty() {
        bail!("the structure is broken:\n  {}", found.join("\n  "));
    }
    println!("structure: as it should be");
    Ok(())
}

/// Promises that were not kept, spelled so that this file does not match itself.
const FORBIDDEN: [&str; 4] =
    [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("#[ig", "nore")];

fn forbidden_words(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target" && name != "corpus" && name != "artifacts") {
                forbidden_words(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            for (number, line) in text.lines().enumerate() {
                for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
                    found.push(format!("{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_keeps_the_dependency_rule() {
        let dependencies = dependencies().unwrap();
        assert!(dependencies.len() >= MAY_USE.len(), "metadata shows all crates");
        assert_eq!(breaches(&dependencies), Vec::<String>::new());
    }

    #[test]
    fn a_breach_is_named() {
        let one =
            |package: &str, uses: &str| breaches(&Dependencies::from([(package.to_owned(), vec![uses.to_owned()])]));
        assert_eq!(one("antiphon-platform", "antiphon-analysis"), ["antiphon-platform may not use antiphon-analysis"]);
        assert_eq!(one("antiphon-features", "tokio"), ["antiphon-features knows nothing of services, but uses tokio"]);
        assert_eq!(
            one("antiphon-analysis", "sqlx"),
            ["antiphon-analysis may not use sqlx: only antiphon-platform may"]
        );
        assert_eq!(one("antiphon-new", "serde"), ["antiphon-new has no row in the dependency rule"]);
    }
}
