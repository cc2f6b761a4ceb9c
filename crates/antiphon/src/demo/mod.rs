//! `antiphon up --demo`: simulated sensors and a few songs, sent to the server over HTTP as anybody's would be.
//!
//! Nothing is stored beforehand and nothing is taken from elsewhere: the crate `antiphon-demo` makes the sound, and the pipeline
//! does the rest. What the demo itself remembers is `DATA/demo.json`: when it was first started, which its history leads up to, and
//! that its songs were sent. A restart goes on: what is stored is not sent again, and the time between two runs is a gap.

mod history;
mod live;
mod sensors;
mod songs;

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use antiphon_demo::Synthesiser;
use antiphon_platform::clock::{Clock, SECOND, duration};
use antiphon_platform::config::Config;
use antiphon_platform::cpu::{Pool, Priority};
use antiphon_platform::disk::{LocalDisk, create_folders, write_atomic};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::{DEFAULT_DATA, Globals};
use crate::commands::server::Server;
use crate::data_folder::{check_version, unusable};

/// The data folder of the demo when none is named.
const DATA: &str = "./antiphon-demo";

/// What the demo remembers, in the data folder.
const FILE: &str = "demo.json";

/// Threads that make and send what is past: one more than the smallest machine that is promised anything has cores, for one of
/// them mostly waits until something is on the disk.
const HISTORY_THREADS: usize = 3;

/// What the demo remembers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Memory {
    /// The second since 1970 at which it was first ready: history ends here, and the simulated present begins.
    born: Option<i64>,
    /// Whether all songs were sent.
    songs: bool,
}

/// What all parts of a running demo share.
struct Demo {
    globals: Globals,
    clock: Clock,
    stop: CancellationToken,
    runtime: Handle,
    synthesiser: Synthesiser,
    /// See [`Memory`].
    born: i64,
    has_songs: bool,
    /// The second since 1970 from which on this run plays.
    begins: i64,
}

/// The options as the demo understands them: its data folder is its own.
pub fn globals(globals: &Globals) -> Globals {
    let mut globals = globals.clone();
    if globals.data == Path::new(DEFAULT_DATA) {
        globals.data = PathBuf::from(DATA);
    }
    globals
}

/// Makes the data folder the demo's, and refuses to put simulated sensors among somebody's real ones.
///
/// # Errors
/// When the data folder is not the demo's, the settings name servers, or nothing can be written there.
pub fn take(data: &Path, config: &Config) -> Result<()> {
    for key in ["database.url", "queue.url", "blobs.url"] {
        if config.text(key)?.is_some_and(|url| !url.is_empty()) {
            let origin = config.origin(key)?;
            bail!(
                "{key} is set ({origin}): the demo keeps to a data folder of its own; unset it, or start without --demo"
            );
        }
    }
    if Memory::read(data)?.is_some() {
        return Ok(());
    }
    check_version(data)?;
    if data.join("VERSION").exists() {
        bail!(
            "the data folder {} is not the demo's: the demo keeps to a folder of its own, {DATA} unless --data names another",
            data.display()
        );
    }
    create_folders(&LocalDisk, data).map_err(|error| unusable(data, &error))?;
    Memory { born: None, songs: false }.write(data)
}

/// Starts everything that the demo does while the server runs, and says where to look. What goes wrong with it is said in the
/// log; the server goes on.
pub fn start(
    tasks: &mut JoinSet<()>,
    globals: &Globals,
    address: Option<SocketAddr>,
    clock: Clock,
    stop: &CancellationToken,
) {
    let data = globals.data.display().to_string();
    tracing::info!(data, "demo: two sensors and an album, all simulated; remove the data folder to be rid of it");
    if let Some(address) = address {
        tracing::info!("demo: look at http://{address}");
    }
    let (globals, stop, runtime) = (globals.clone(), stop.clone(), Handle::current());
    tasks.spawn(async move {
        if let Err(error) = run(globals, clock, stop, runtime).await {
            tracing::warn!("the demo cannot go on: {error:#}");
        }
    });
}

async fn run(globals: Globals, clock: Clock, stop: CancellationToken, runtime: Handle) -> Result<()> {
    let pool = Pool::new("demo", HISTORY_THREADS, Priority::Background);
    let prepared = pool.run(move || prepare(globals, clock, stop, runtime)).await??;
    let demo = Arc::new(prepared);
    let live = {
        let demo = Arc::clone(&demo);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = live::run(&demo) {
                tracing::warn!("the demo's sensors fell silent: {error:#}");
            }
        })
    };
    let missing = {
        let demo = Arc::clone(&demo);
        move || history::Past::missing(&demo)
    };
    let past = Arc::new(pool.run(missing).await??);
    let workers = (0..HISTORY_THREADS).map(|_| {
        let (demo, past) = (Arc::clone(&demo), Arc::clone(&past));
        pool.run(move || past.work(&demo))
    });
    for outcome in futures::future::join_all(workers).await {
        outcome??;
    }
    if !demo.stop.is_cancelled() && past.count() > 0 {
        tracing::info!(minutes = past.count(), "demo: the history is complete");
    }
    live.await?;
    Ok(())
}

/// Everything that has to be there before the first sound is sent.
fn prepare(globals: Globals, clock: Clock, stop: CancellationToken, runtime: Handle) -> Result<Demo> {
    let memory = Memory::read(&globals.data)?.unwrap_or(Memory { born: None, songs: false });
    // The second that has begun: a past that led up to the next one would end in the future.
    let begins = clock.now().div_euclid(SECOND);
    let born = memory.born.unwrap_or(begins);
    Memory { born: Some(born), ..memory }.write(&globals.data)?;
    sensors::ensure(&globals)?;
    let synthesiser = Synthesiser::new();
    Ok(Demo { globals, clock, stop, runtime, synthesiser, born, has_songs: memory.songs, begins })
}

impl Demo {
    /// Waits until `time`, or until everything stops; whether it goes on.
    fn wait_until(&self, time: i64) -> bool {
        let left = duration(time - self.clock.now());
        if left > Duration::ZERO && !self.stop.is_cancelled() {
            // Either may come first, and the token says which did.
            self.runtime.block_on(async {
                tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    () = self.stop.cancelled() => {}
                }
            });
        }
        !self.stop.is_cancelled()
    }

    /// The server that runs on the data folder, for what only an operator may do.
    fn server(&self) -> Result<Server> {
        Server::beside(&self.globals)
    }
}

impl Memory {
    fn read(data: &Path) -> Result<Option<Self>> {
        let path = data.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("{} is no longer what the demo wrote", path.display()))
    }

    fn write(&self, data: &Path) -> Result<()> {
        let path = data.join(FILE);
        write_atomic(&LocalDisk, &path, &serde_json::to_vec(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
