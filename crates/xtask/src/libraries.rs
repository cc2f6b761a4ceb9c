//! `cargo xtask libraries`: what a stranger does who wants a library and not the platform.
//!
//! For each library a project outside of the repository is made of its README alone: the manifest as it says, with the
//! path of this repository, and its example as the program. Both are built and run as they are, in the `dev` profile.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::generate::root;
use crate::tasks::run;

/// Folders below `crates`, and what of the manifest the README says by pointing at another one.
const LIBRARIES: [(&str, Option<&str>); 2] = [("audio", None), ("features", Some("audio"))];

/// How the READMEs call the folder of the repository.
const REPOSITORY: &str = "../antiphon";

/// Builds and runs the examples of all libraries.
pub fn check() -> Result<()> {
    let root = root().canonicalize().context("the repository")?;
    // Outside of the repository, where no workspace is found above; what is built stays, so that it is built once.
    let folder = std::env::temp_dir().join(format!("antiphon-libraries-{}", std::process::id()));
    let checked = LIBRARIES.iter().try_for_each(|(library, profiles)| {
        let readme = |name: &str| {
            let path = root.join("crates").join(name).join("README.md");
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let profiles = profiles.map(readme).transpose()?;
        let project = folder.join(library);
        write(&project, &root, library, &readme(library)?, profiles.as_deref())?;
        println!("## {library}");
        run(Command::new(env!("CARGO"))
            .args(["run", "--quiet"])
            .current_dir(&project)
            .env("CARGO_TARGET_DIR", root.join("target/libraries")))
    });
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    checked
}

/// Writes a project: its manifest, this repository's lock file, so that the same versions are taken, and its program.
fn write(project: &Path, root: &Path, library: &str, readme: &str, profiles: Option<&str>) -> Result<()> {
    std::fs::create_dir_all(project.join("src")).with_context(|| project.display().to_string())?;
    std::fs::write(project.join("Cargo.toml"), manifest(root, library, readme, profiles)?)?;
    std::fs::write(project.join("src/main.rs"), block(readme, "rust")?)?;
    std::fs::copy(root.join("Cargo.lock"), project.join("Cargo.lock")).context("Cargo.lock")?;
    Ok(())
}

fn manifest(root: &Path, library: &str, readme: &str, profiles: Option<&str>) -> Result<String> {
    let dependencies = block(readme, "toml")?.replace(REPOSITORY, &root.display().to_string());
    let profiles = profiles.map_or(Ok(""), |readme| block(readme, "toml"))?;
    let profiles = profiles.find("\n[profile").map_or("", |place| &profiles[place..]);
    Ok(format!(
        "[package]\nname = \"stranger-of-{library}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n{dependencies}{profiles}"
    ))
}

/// The first block of code in a language.
fn block<'a>(readme: &'a str, language: &str) -> Result<&'a str> {
    let (_, rest) = readme.split_once(&format!("```{language}\n")).with_context(|| format!("no {language} in it"))?;
    rest.split_once("```").map(|(code, _)| code).context("a block without end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_the_readmes_say() {
        let audio =
            "# a\n```toml\n[dependencies]\na = { path = \"../antiphon/crates/audio\" }\n\n[profile.dev]\nx = 1\n```\n";
        let features = "# f\n```toml\n[dependencies]\nf = { path = \"../antiphon/crates/features\" }\n```\n```rust\nfn main() {}\n```\n";
        let found = manifest(Path::new("/r"), "features", features, Some(audio)).unwrap();
        assert_eq!(
            found,
            "[package]\nname = \"stranger-of-features\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nf = { path = \"/r/crates/features\" }\n\n[profile.dev]\nx = 1\n"
        );
        assert_eq!(block(features, "rust").unwrap(), "fn main() {}\n");
        assert!(block(audio, "rust").is_err());
    }
}
