//! Generated files: `schemas/` compiled and in Rust, and the pages of `docs/` that come from code.

mod algorithms;
mod compatibility;
mod guarantees;
mod page;
mod passages;
mod pictures;

use std::path::{Path, PathBuf};

use antiphon_features::registry;
use anyhow::{Context, Result, bail};
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Schema file, and where its Rust code goes.
const MESSAGES: [(&str, &str, &str); 3] = [
    ("antiphon/v1/analysis.proto", "antiphon.v1.rs", "crates/analysis/src/messages.rs"),
    ("antiphon/v1/catalog.proto", "antiphon.catalog.v1.rs", "crates/catalog/src/messages.rs"),
    ("antiphon/v1/notify.proto", "antiphon.notify.v1.rs", "crates/notify/src/messages.rs"),
];

/// The schemas of the last release, compiled: later ones must be compatible with them.
const RELEASED: &str = "schemas/released.binpb";

/// The schemas as they are, compiled, for programs that read them when they start.
const COMPILED: &str = "examples/python-worker/descriptors.binpb";

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Generates all files; with `check` compares instead of writing.
pub fn run(check: bool) -> Result<()> {
    let root = root();
    let schemas = schemas(&root)?;
    let released = std::fs::read(root.join(RELEASED)).with_context(|| format!("cannot read {RELEASED}"))?;
    compatibility::check(&FileDescriptorSet::decode(released.as_slice())?, &schemas)?;
    let mut differing = Vec::new();
    put(&root, COMPILED, schemas.encode_to_vec(), check, &mut differing)?;
    for (schema, output, target) in MESSAGES {
        put(&root, target, messages(&root, schema, output)?, check, &mut differing)?;
    }
    put(&root, "docs/guarantees.md", guarantees::page(&root)?, check, &mut differing)?;
    let sizes = algorithms::sizes()?;
    put(&root, "crates/features/src/sizes.rs", algorithms::code(&sizes)?, check, &mut differing)?;
    put(&root, "docs/algorithms.md", algorithms::index(&sizes)?, check, &mut differing)?;
    pages(&root, &sizes, check, &mut differing)?;
    if !differing.is_empty() {
        bail!("not as generated: {}; run `cargo xtask generate` and commit", differing.join(", "));
    }
    Ok(())
}

/// Where the pages of algorithms and their pictures are: nothing else is there.
const PAGES: &str = "docs/algorithms";

fn pages(root: &Path, sizes: &algorithms::Sizes, check: bool, differing: &mut Vec<String>) -> Result<()> {
    let folder = root.join(PAGES);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {PAGES}"))?;
    let passages = passages::Passages::read(root)?;
    let mut known = Vec::new();
    for descriptor in registry() {
        let (page, picture) = (format!("{}.md", descriptor.name), format!("{}.svg", descriptor.name));
        let drawn = pictures::draw(root, descriptor)?;
        let text = page::page(descriptor, drawn.sound, &passages, sizes)?;
        put(root, &format!("{PAGES}/{page}"), text, check, differing)?;
        // A picture made on another processor stays as it is.
        let there = std::fs::read_to_string(folder.join(&picture)).unwrap_or_default();
        if !pictures::alike(&there, &drawn.svg) {
            put(root, &format!("{PAGES}/{picture}"), drawn.svg, check, differing)?;
        }
        known.extend([page, picture]);
    }
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !known.contains(&name) {
            if check {
                differing.push(format!("{PAGES}/{name}, of no algorithm"));
            } else {
                std::fs::remove_file(&path).with_context(|| format!("cannot remove {PAGES}/{name}"))?;
                println!("removed {PAGES}/{name}");
            }
        }
    }
    Ok(())
}

/// Writes a file that is not as it should be; with `check` only names it.
fn put(root: &Path, target: &str, content: impl AsRef<[u8]>, check: bool, differing: &mut Vec<String>) -> Result<()> {
    let path = root.join(target);
    if std::fs::read(&path).unwrap_or_default() == content.as_ref() {
        return Ok(());
    }
    if check {
        differing.push(target.to_owned());
        return Ok(());
    }
    std::fs::write(&path, content).with_context(|| format!("cannot write {target}"))?;
    println!("wrote {target}");
    Ok(())
}

/// Writes what later schemas are compared with.
pub fn release_schemas() -> Result<()> {
    let root = root();
    std::fs::write(root.join(RELEASED), schemas(&root)?.encode_to_vec())?;
    println!("wrote {RELEASED}");
    Ok(())
}

/// Every schema, compiled, without its comments.
fn schemas(root: &Path) -> Result<FileDescriptorSet> {
    let folder = root.join("schemas");
    let files = MESSAGES.map(|(schema, _, _)| schema);
    let mut compiled = protox::compile(files, [&folder]).context("the schemas do not compile")?;
    for file in &mut compiled.file {
        file.source_code_info = None;
    }
    Ok(compiled)
}

fn messages(root: &Path, schema: &str, output: &str) -> Result<String> {
    let schemas = root.join("schemas");
    let descriptors = protox::compile([schema], [&schemas]).with_context(|| format!("{schema} does not compile"))?;
    let folder = tempdir()?;
    prost_build::Config::new()
        .bytes(["."])
        .out_dir(&folder)
        .compile_fds(descriptors)
        .with_context(|| format!("no Rust code for {schema}"))?;
    let code = std::fs::read_to_string(folder.join(output))?;
    std::fs::remove_dir_all(&folder)?;
    Ok(format!(
        "//! Messages of `schemas/{schema}`. Generated by `cargo xtask generate`; do not edit.\n#![allow(missing_docs, clippy::all, clippy::pedantic)]\n\n{code}"
    ))
}

fn tempdir() -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("antiphon-generate-{}", std::process::id()));
    std::fs::create_dir_all(&path)?;
    Ok(path)
}
