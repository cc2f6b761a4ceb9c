//! `antiphon migrate`: an installation on a data folder becomes one on servers.
//!
//! The data folder is left as it is, so that going back is starting it again. A run that was cut off is run again: it goes
//! on where it was, and compares everything at the end.

mod blobs;
mod database;
mod progress;
mod queue;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use antiphon_analysis::topics;
use antiphon_platform::address::{Freshness, redacted};
use antiphon_platform::config::{Config, Sources};
use antiphon_platform::db::Database;
use antiphon_platform::disk;
use antiphon_platform::queue::Access as QueueAccess;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use self::database::{Content, Start, Target, tables};
use self::progress::Progress;
use super::output::{counted, print_json, print_line};
use crate::cli::Globals;
use crate::data_folder::DataFolder;
use crate::roles::{self, Access, Permitted};
use crate::settings;
use crate::wiring::{Location, Locations, QueueEngine, Settled, blobs_at, database_address, migrations};

/// What a folder says of the migration that was begun from it.
const MARK: &str = "migrated-to";

/// Options of `antiphon migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  antiphon migrate --from /var/lib/antiphon --to production.toml\n  \
                  ANTIPHON_DATABASE__PASSWORD=file:/run/secrets/owner antiphon migrate --from antiphon-data --to antiphon.toml --json\n\n\
                  The accounts must be those of `antiphon prepare`. Nothing may run on the data folder, nor on the servers. \
                  Cut off, it is run again and goes on.")]
pub struct Arguments {
    /// The data folder with the embedded engines.
    #[arg(long, value_name = "DATA")]
    from: PathBuf,
    /// The settings of the new installation.
    #[arg(long, value_name = "CONFIG.toml")]
    to: PathBuf,
}

/// Copies everything and compares it.
///
/// # Errors
/// What could not be copied, and why; running it again goes on.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(migrate(&arguments, globals))
}

async fn migrate(arguments: &Arguments, globals: &Globals) -> Result<ExitCode> {
    ensure!(arguments.from.join("VERSION").is_file(), "{} is no data folder of antiphon", arguments.from.display());
    let folder = DataFolder::open(&arguments.from)?;
    let _alone = folder.alone()?;
    // What the environment says is about the new installation.
    let here = Config::load(settings::TABLES, &Sources { file: settings_in(folder.path())?, ..Sources::default() })?;
    let source = Locations::find(&here, folder.path())?;
    let (Location::Local(from_database), Location::Local(from_queue), Location::Local(from_blobs)) =
        (&source.database, &source.queue, &source.blobs)
    else {
        bail!("{} is on servers already", folder.path().display());
    };
    let environment = Sources::find(Path::new("/"), Path::new("/"))?.environment;
    let sources = Sources { file: Some(read(&arguments.to)?), environment, flags: Vec::new() };
    let everything = Permitted { database: Access::Write, blobs: Access::Write, queue: true };
    let target = Settled::of(Config::load(settings::TABLES, &sources)?, &globals.data, &everything).await?;
    let target = &target.locations;
    let stays = |location: &Location, from: &Path| matches!(location, Location::Local(path) if same(path, from));
    ensure!(!stays(&target.database, from_database), "{} leads to where the data is already", arguments.to.display());
    let json = globals.json;

    let opened = Database::open(database_address(&target.database), &migrations()).await;
    let database = opened.context("cannot open the target's database")?;
    let begun = begin(&folder, target, &database, from_database).await?;

    let objects = if stays(&target.blobs, from_blobs) {
        blobs::Moved::default()
    } else {
        let opened = blobs_at(&target.blobs, Access::Write).await.context("cannot open the target's blobs")?;
        blobs::copy(from_blobs, opened, json).await?
    };
    say(
        json,
        &format!("blobs: {} with {} bytes, the same there", counted_u64(objects.objects, "object"), objects.bytes),
    )?;

    let rows = copy_tables(from_database, &database, target, begun, json).await?;
    if matches!(begun, Begun::Now | Begun::Before) {
        note(&folder, &format!("{}\n{ROWS}\n", place_of(target).await?))?;
    }

    let mut messages = Vec::new();
    if begun == Begun::AndEnded {
        say(json, "queue: its messages went over before")?;
    } else if !stays(&target.queue, from_queue) && from_queue.exists() {
        let access = QueueAccess { publish: roles::EVERY_TOPIC.to_vec(), ..QueueAccess::default() };
        let engine = QueueEngine::open(&target.queue, access).await.context("cannot open the target's queue")?;
        engine.handle().declare(&topics::ALL).await.context("cannot declare the target's groups")?;
        let copy = queue::copy_of(from_queue)?;
        messages = queue::drain(&copy, engine.handle(), database.clone(), json).await?;
        engine.close().await;
        queue::remove(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    }
    for (group, moved) in &messages {
        say(json, &format!("queue {}: {} waiting, {} dead", group.name, moved.waiting, moved.dead))?;
    }
    note(&folder, &format!("{}\n{ENDED}\n", place_of(target).await?))?;
    if json {
        let tables: BTreeMap<_, _> = rows.iter().map(|(table, content)| (*table, shown(content))).collect();
        let groups: BTreeMap<_, _> = messages
            .iter()
            .map(|(group, moved)| (group.name, json!({ "waiting": moved.waiting, "dead": moved.dead })))
            .collect();
        let blobs = json!({ "objects": objects.objects, "bytes": objects.bytes });
        print_json(&json!({ "ok": true, "tables": tables, "queue": groups, "blobs": blobs }))?;
    } else {
        let from = folder.path().display();
        print_line(&format!(
            "done: everything in {from} is there too. Start the roles; {from} can be kept as a backup"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn say(json: bool, line: &str) -> Result<()> {
    if json { Ok(()) } else { print_line(line) }
}

fn counted_u64(count: u64, what: &str) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), what)
}

fn shown(content: &Content) -> serde_json::Value {
    json!({ "rows": content.rows, "checksum": format!("{:032x}", content.sum) })
}

fn settings_in(data: &Path) -> Result<Option<(PathBuf, String)>> {
    let path = data.join(antiphon_platform::config::FILE_NAME);
    if path.exists() { read(&path).map(Some) } else { Ok(None) }
}

fn read(path: &Path) -> Result<(PathBuf, String)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((path.to_owned(), text))
}

fn same(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    canonical(one) == canonical(other)
}

/// How far a migration to some place was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// It begins now.
    Now,
    /// It was begun, and goes on.
    Before,
    /// All rows are there and were compared. What comes after adds to them, so they are not compared again.
    WithRows,
    /// Everything is there already.
    AndEnded,
}

/// What the last line of the mark says when all rows are there, and when everything is.
const ROWS: &str = "all rows are there";
const ENDED: &str = "everything is there";

/// Looks how far a migration to the same place was; a new one begins where nothing is yet only.
async fn begin(folder: &DataFolder, target: &Locations, database: &Database, from: &Path) -> Result<Begun> {
    let place = place_of(target).await?;
    let mark = std::fs::read_to_string(folder.path().join(MARK)).unwrap_or_default();
    match mark.lines().collect::<Vec<_>>()[..] {
        [at] if at == place => return Ok(Begun::Before),
        [at, ROWS] if at == place => return Ok(Begun::WithRows),
        [at, ENDED] if at == place => return Ok(Begun::AndEnded),
        _ => {}
    }
    let source = open_source(from).await?;
    let mut read = database.read().await?;
    for table in tables(&mut source.read().await?).await? {
        let rows = table.count(&mut read).await?;
        ensure!(
            rows == 0,
            "the target's database is not new: {} holds {}. Migrate into an empty one, before any role starts on it \
             and before keys are made there",
            table.name,
            counted_u64(rows, "row")
        );
    }
    note(folder, &format!("{place}\n"))?;
    Ok(Begun::Now)
}

fn note(folder: &DataFolder, text: &str) -> Result<()> {
    let mark = folder.path().join(MARK);
    let written = disk::write_atomic(&disk::LocalDisk, &mark, text.as_bytes());
    written.with_context(|| format!("cannot write {}", mark.display()))
}

/// Which database that is, without what is secret and may change.
async fn place_of(target: &Locations) -> Result<String> {
    let address = database_address(&target.database).current(Freshness::Cached).await?;
    Ok(redacted(address.reveal()))
}

/// The source's database, brought up to this version: both sides then have the same tables.
async fn open_source(path: &Path) -> Result<Database> {
    let address = database_address(&Location::Local(path.to_owned()));
    Database::open(address, &migrations()).await.context("cannot open the data folder's database")
}

async fn copy_tables(
    from: &Path,
    database: &Database,
    target: &Locations,
    begun: Begun,
    json: bool,
) -> Result<Vec<(&'static str, Content)>> {
    let source = open_source(from).await?;
    let target = Target { database: database.clone(), is_server: !target.database.is_local() };
    let mut rows = Vec::new();
    for table in tables(&mut source.read().await?).await? {
        let total = table.count(&mut source.read().await?).await?;
        let bar = |what: &str| Progress::new(&format!("{what} {}", table.name), if json { 0 } else { total });
        let here = table.content(&mut source.read().await?, &bar("reading")).await?;
        let rows_here = counted_u64(here.rows, "row");
        let found = if matches!(begun, Begun::WithRows | Begun::AndEnded) {
            "compared before"
        } else {
            let is_same = async || -> Result<bool> {
                Ok(table.content(&mut database.read().await?, &bar("comparing")).await? == here)
            };
            let start = if begun == Begun::Now { Start::First } else { Start::Behind };
            table.copy(&source, &target, start, &bar("copying")).await?;
            let mut arrived = is_same().await?;
            if !arrived && start == Start::Behind {
                // Rows may be missing before the last one that is there, if somebody removed some.
                table.copy(&source, &target, Start::First, &bar("copying again")).await?;
                arrived = is_same().await?;
            }
            ensure!(
                arrived,
                "{} is not the same in both databases, although everything was copied. Nothing may write to either \
                 meanwhile; empty the target and try again",
                table.name
            );
            "the same in both"
        };
        say(json, &format!("table {}: {rows_here}, checksum {:032x}, {found}", table.name, here.sum))?;
        rows.push((table.name, here));
    }
    target.count_on().await?;
    Ok(rows)
}
