//! Wiring: opens what the role table permits, and hands each capability the handles that its roles may have.

mod connections;
mod cookies;
mod locations;
mod operator;
mod routers;
mod schema;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use antiphon_analysis::admit;
use antiphon_analysis::alerts;
use antiphon_analysis::descriptors;
use antiphon_analysis::messages;
use antiphon_analysis::plan::{self, Choice};
use antiphon_analysis::receive;
use antiphon_analysis::recordings::media;
use antiphon_analysis::store;
use antiphon_analysis::topics;
use antiphon_analysis::workers::{Worker, analyze, analyze_songs};
use antiphon_identity::{Keys, LocalToken, Options};
use antiphon_notify as notify;
use antiphon_platform::blobs::Blobs;
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::config::Config;
use antiphon_platform::cpu::{self, Pool, Priority};
use antiphon_platform::db::{Database, DbError, Reader, Statement};
use antiphon_platform::disk;
use antiphon_platform::http::health::Checks;
use antiphon_platform::http::nearest;
use antiphon_platform::jobs::{self, Job, JobError, Outcome};
use antiphon_platform::outbound::Outbound;
use antiphon_platform::outbox;
use antiphon_platform::queue::Queue;
use antiphon_platform::sql;
use antiphon_web::{Api, Web};
use anyhow::{Context, Result, bail};
use axum::Router;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

pub use connections::{Connections, QueueEngine, Waiting, blobs_at, database_address};
pub use locations::{DATABASE, Location, Locations, PORTS, Port, QUEUE, Settled};
pub use schema::migrations;

use crate::commands::output::print_line;
use crate::data_folder::DataFolder;
use crate::roles::{Access, Role};
use crate::supervise::Task;

/// Recordings that media cuts at once in one process: each may be as large as an upload.
const CUT_AT_ONCE: usize = 2;

/// Days end once a day, audio expires by days: an hour late is early enough.
const RETENTION_EVERY: Duration = Duration::from_secs(3_600);
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// What was told is kept for 400 days: a day more or less.
const FORGET_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// A song whose results are old can wait; one that was queued makes room for the next as soon as it is done.
const REANALYZE_EVERY: Duration = Duration::from_secs(60);

/// Free space in bytes below which the folder is not ready for more; on small disks a twentieth of them.
const RESERVE: u64 = 32 << 20;

/// How often the clocks are compared, and from which difference on, in µs, somebody should look.
const CLOCK_EVERY: Duration = Duration::from_secs(600);
const SKEW: Micros = 2 * SECOND;
const CLOCK: Statement = sql!("wiring/clock.postgres.sql");

/// Everything that the started roles work with.
pub struct Wiring {
    roles: Vec<&'static Role>,
    connections: Connections,
    clock: Clock,
    pool: OnceLock<Arc<Pool>>,
    workers: usize,
    /// Results that `write` holds unacknowledged at most.
    write_prefetch: usize,
    limits: Limits,
    keys: Option<Keys>,
    public_reads: bool,
    receive: receive::Options,
    notify: notify::Options,
    songs: Songs,
    /// What the messages of new songs carry; made for the role that takes songs.
    song_plan: Option<messages::Plan>,
    folder: Option<PathBuf>,
    /// Opens everything to commands beside an `api`; removed when dropped.
    _token: Option<LocalToken>,
}

/// What of this machine's disk the process may use.
pub struct Places<'a> {
    /// The data folder, for processes that have one.
    pub folder: Option<&'a DataFolder>,
    /// Where the local token goes, for the process that commands beside it find.
    pub run: Option<PathBuf>,
}

struct Limits {
    recording: usize,
    song: u64,
}

/// How songs are analysed, and analysed again.
#[derive(Clone)]
struct Songs {
    plan: Vec<Choice>,
    /// How many are queued at once to be analysed again.
    again_at_once: u32,
}

impl Wiring {
    /// Prepares what roles need beside their connections: keys, the operator's first key, threads.
    ///
    /// # Errors
    /// When the database or the data folder cannot be used.
    pub async fn new(
        roles: &[&'static Role],
        config: &Config,
        places: Places<'_>,
        connections: Connections,
        clock: Clock,
    ) -> Result<Self> {
        let folder = places.folder.map(|folder| folder.path().to_owned());
        let token = places.run.map(|run| LocalToken::create(&run)).transpose()?;
        if roles.iter().any(|role| role.name == "api") {
            operator::ensure_key(&connections.database("api")?, &clock, folder.as_deref()).await?;
        }
        let public_reads = config.boolean("auth.public_reads")?;
        let options = Options {
            public_reads,
            local_token: token.as_ref(),
            requests_per_second: config.number("limits.requests_per_second")?,
        };
        let serves_data = roles.iter().any(|role| role.listens && role.database != Access::None);
        let keys =
            if serves_data { Some(Keys::new(connections.reader("query")?, clock.clone(), &options)) } else { None };
        let workers = config.integer("analyze.workers")?.and_then(|count| usize::try_from(count).ok());
        let workers = workers.unwrap_or_else(cpu::cores);
        let number = |key| -> Result<i64> { config.integer(key)?.with_context(|| format!("{key} is not set")) };
        let limits = Limits {
            recording: usize::try_from(number("limits.recording_bytes")?)?,
            song: u64::try_from(number("limits.song_bytes")?)?,
        };
        let write_prefetch = usize::try_from(number("write.prefetch")?)?;
        let songs =
            Songs { plan: plan::of_songs(config)?, again_at_once: u32::try_from(number("songs.reanalyze_at_once")?)? };
        let song_plan = if roles.iter().any(|role| role.name == "api") {
            Some(store::plan_of_songs(&connections.database("api")?, &clock, &songs.plan).await?)
        } else {
            None
        };
        Ok(Self {
            roles: roles.to_vec(),
            connections,
            clock,
            pool: OnceLock::new(),
            workers,
            write_prefetch,
            limits,
            keys,
            public_reads,
            receive: receive::Options::read(config)?,
            notify: notify::Options::read(config)?,
            songs,
            song_plan,
            folder,
            _token: token,
        })
    }

    /// Closes what should not just be dropped.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    /// Checks of every connection that the started roles use, and of the data folder if there is one.
    pub fn checks(&self) -> Checks {
        let mut checks = Checks::default();
        if let Some(reader) = self.connections.any_reader() {
            checks.add("database", move || {
                let reader = reader.clone();
                async move { reader.read().await.map(|_| ()).map_err(|error| error.to_string()) }
            });
        }
        if let Some(queue) = self.connections.whole_queue() {
            checks.add("queue", move || {
                let queue = Arc::clone(&queue);
                async move { queue.check().await.map_err(|error| error.to_string()) }
            });
        }
        if let Some(blobs) = self.connections.any_blobs() {
            checks.add("blobs", move || {
                let blobs = Arc::clone(&blobs);
                async move { blobs.check().await.map_err(|error| error.to_string()) }
            });
        }
        let Some(folder) = self.folder.clone() else { return checks };
        checks.add("data folder", move || {
            let folder = folder.clone();
            async move {
                let reserve = disk::total_bytes(&folder).map_or(RESERVE, |total| RESERVE.min(total / 20));
                match disk::free_bytes(&folder) {
                    Ok(free) if free < reserve => {
                        Err(format!("only {free} bytes are free on its disk; free some space"))
                    }
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.to_string()),
                }
            }
        });
        checks
    }

    /// The loops of the started roles, by name.
    ///
    /// # Errors
    /// When a role lacks a connection that the role table gives it.
    pub fn tasks(&self, stop: &CancellationToken) -> Result<Vec<(&'static str, Task)>> {
        let mut tasks: Vec<(&'static str, Task)> = Vec::new();
        for role in &self.roles {
            match role.name {
                "analyze" => tasks.push(("analyze", self.analyze(stop)?)),
                "analyze-songs" => tasks.push(("analyze-songs", self.analyze_songs(stop)?)),
                "media" => tasks.push(("media", self.media(stop)?)),
                "write" => tasks.extend(self.write(stop)?),
                "admit" => tasks.push(("admit", self.admit(stop)?)),
                "receive" => tasks.push(("receive", self.receive(stop)?)),
                "notify" => tasks.extend(self.notify(stop)?),
                "relay" => tasks.push(("relay", self.relay(stop)?)),
                "schedule" => tasks.push(("schedule", self.schedule(stop)?)),
                // What listens is served by the router; a job runs alone.
                _ => {}
            }
        }
        Ok(tasks)
    }

    /// The threads that compute, started for the first role that does.
    fn pool(&self) -> Arc<Pool> {
        let start = || {
            // Beside the jobs that they have, it tells how busy they are.
            metrics::gauge!("antiphon_cpu_threads", "pool" => "analysis").set(self.workers as f64);
            Arc::new(Pool::new("analysis", self.workers, Priority::Background))
        };
        Arc::clone(self.pool.get_or_init(start))
    }

    fn worker(&self, role: &'static str) -> Result<Worker> {
        let queue = self.connections.queue(role)?;
        // One more than threads, so that a thread that is done finds the next recording decoded from the queue.
        Ok(Worker { queue, pool: self.pool(), prefetch: self.workers + 1, clock: self.clock.clone() })
    }

    fn analyze(&self, stop: &CancellationToken) -> Result<Task> {
        let (worker, stop) = (self.worker("analyze")?, stop.clone());
        Ok(Box::new(move || {
            let run = analyze::run(worker.clone(), stop.clone());
            Box::pin(async move { run.await.map_err(|error| error.to_string()) })
        }))
    }

    fn analyze_songs(&self, stop: &CancellationToken) -> Result<Task> {
        let (worker, blobs) = (self.worker("analyze-songs")?, self.connections.blobs("analyze-songs")?);
        let stop = stop.clone();
        Ok(Box::new(move || {
            let run = analyze_songs::run(worker.clone(), Arc::clone(&blobs), stop.clone());
            Box::pin(async move { run.await.map_err(|error| error.to_string()) })
        }))
    }

    fn media(&self, stop: &CancellationToken) -> Result<Task> {
        let media = media::Media {
            queue: self.connections.queue("media")?,
            blobs: self.connections.blobs("media")?,
            reader: self.connections.reader("media")?,
            pool: self.pool(),
            prefetch: CUT_AT_ONCE,
        };
        let stop = stop.clone();
        Ok(Box::new(move || {
            let run = media::run(media.clone(), stop.clone());
            Box::pin(async move { run.await.map_err(|error| error.to_string()) })
        }))
    }

    fn write(&self, stop: &CancellationToken) -> Result<Vec<(&'static str, Task)>> {
        let database = self.connections.database("write")?;
        let queue = self.connections.queue("write")?;
        let (clock, stop, prefetch) = (self.clock.clone(), stop.clone(), self.write_prefetch);
        let writer: Task = {
            let (database, queue, clock, stop) = (database.clone(), Arc::clone(&queue), clock.clone(), stop.clone());
            Box::new(move || {
                let (database, queue, clock) = (database.clone(), Arc::clone(&queue), clock.clone());
                Box::pin(store::writer::run(database, queue, clock, prefetch, stop.clone()).map(Ok))
            })
        };
        let dead_letters: Task = {
            let (database, queue, clock, stop) = (database.clone(), Arc::clone(&queue), clock.clone(), stop.clone());
            Box::new(move || {
                let run = store::dead_letters::run(database.clone(), Arc::clone(&queue), clock.clone(), stop.clone());
                Box::pin(run.map(Ok))
            })
        };
        let descriptors: Task = {
            let (database, queue, clock, stop) = (database.clone(), Arc::clone(&queue), clock.clone(), stop.clone());
            Box::new(move || {
                let run = descriptors::keep::run(database.clone(), Arc::clone(&queue), clock.clone(), stop.clone());
                Box::pin(async move { run.await.map_err(|error| error.to_string()) })
            })
        };
        let alerts: Task = {
            let (database, clock, stop) = (database.clone(), clock.clone(), stop.clone());
            Box::new(move || Box::pin(alerts::run(database.clone(), clock.clone(), stop.clone()).map(Ok)))
        };
        let roll_up: Task =
            Box::new(move || Box::pin(store::rollup::run(database.clone(), clock.clone(), stop.clone()).map(Ok)));
        Ok(vec![
            ("write", writer),
            ("write: dead letters", dead_letters),
            ("write: descriptors", descriptors),
            ("write: roll-ups", roll_up),
            ("write: alerts", alerts),
        ])
    }

    fn admit(&self, stop: &CancellationToken) -> Result<Task> {
        let (database, queue) = (self.connections.database("admit")?, self.connections.queue("admit")?);
        let (clock, stop) = (self.clock.clone(), stop.clone());
        Ok(Box::new(move || {
            let run = admit::run(database.clone(), Arc::clone(&queue), clock.clone(), stop.clone());
            Box::pin(async move { run.await.map_err(|error| error.to_string()) })
        }))
    }

    fn receive(&self, stop: &CancellationToken) -> Result<Task> {
        let (queue, clock, stop) = (self.connections.queue("receive")?, self.clock.clone(), stop.clone());
        let options = self.receive.clone();
        Ok(Box::new(move || {
            let run = receive::run(Arc::clone(&queue), clock.clone(), options.clone(), stop.clone());
            Box::pin(run.map(Ok))
        }))
    }

    fn notify(&self, stop: &CancellationToken) -> Result<Vec<(&'static str, Task)>> {
        let (database, queue) = (self.connections.database("notify")?, self.connections.queue("notify")?);
        let (clock, stop) = (self.clock.clone(), stop.clone());
        let outbound = Outbound::new(self.notify.allow.clone());
        let sending = notify::Sending { database: database.clone(), outbound, clock: clock.clone() };
        let receive: Task = {
            let stop = stop.clone();
            Box::new(move || {
                let run = notify::receive(database.clone(), Arc::clone(&queue), clock.clone(), stop.clone());
                Box::pin(async move { run.await.map_err(|error| error.to_string()) })
            })
        };
        let send: Task = Box::new(move || Box::pin(notify::send(sending.clone(), stop.clone()).map(Ok)));
        Ok(vec![("notify", receive), ("notify: sending", send)])
    }

    fn relay(&self, stop: &CancellationToken) -> Result<Task> {
        let (database, queue, stop) =
            (self.connections.database("relay")?, self.connections.queue("relay")?, stop.clone());
        Ok(Box::new(move || {
            let (database, queue, stop) = (database.clone(), Arc::clone(&queue), stop.clone());
            Box::pin(async move {
                outbox::relay(database, &*queue, &topics::ALL, stop).await;
                Ok(())
            })
        }))
    }

    fn schedule(&self, stop: &CancellationToken) -> Result<Task> {
        let (database, jobs) = (self.connections.database("schedule")?, self.jobs("schedule")?);
        let (clock, stop) = (self.clock.clone(), stop.clone());
        Ok(Box::new(move || {
            let (database, jobs) = (database.clone(), jobs.clone());
            let (clock, stop) = (clock.clone(), stop.clone());
            Box::pin(async move {
                jobs::schedule(database, clock, jobs, owner(), stop).await;
                Ok(())
            })
        }))
    }

    /// Every job of every capability, with the handles of `role`.
    fn jobs(&self, role: &'static str) -> Result<Vec<Job>> {
        let (database, blobs) = (self.connections.database(role)?, self.connections.blobs(role)?);
        Ok(all_jobs(&database, &blobs, &self.clock, &self.songs))
    }

    /// Runs one job, once.
    ///
    /// # Errors
    /// When there is no such job, or its lease cannot be used.
    pub async fn run_job(&self, name: &str, stop: CancellationToken) -> Result<ExitCode> {
        let jobs = self.jobs("job")?;
        let Some(job) = jobs.iter().find(|job| job.name == name) else {
            let names: Vec<&str> = jobs.iter().map(|job| job.name).collect();
            let near = nearest(name, names.iter().copied()).map(|near| format!(", did you mean {near}?"));
            bail!("there is no job {name:?}{} there are {}", near.unwrap_or(String::from(";")), names.join(", "));
        };
        print_line(&format!("antiphon job {name} is ready"))?;
        let (database, owner) = (self.connections.database("job")?, owner());
        let outcome = tokio::select! {
            outcome = jobs::run_once(&database, &self.clock, job, &owner) => outcome?,
            () = stop.cancelled() => bail!("stopped before the job {name} was done; it is safe to run it again"),
        };
        match outcome {
            Outcome::Done => Ok(ExitCode::SUCCESS),
            Outcome::Held(holder) => {
                tracing::info!(job = name, holder, "not run: it is running already");
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Failed(error) => {
                tracing::error!(job = name, %error, "the job failed");
                Ok(ExitCode::FAILURE)
            }
        }
    }

    /// The routes of the started roles for data; those of pages are [put around them](Self::around).
    ///
    /// # Errors
    /// When a role lacks a connection that the role table gives it.
    pub fn router(&self) -> Result<OpenApiRouter> {
        match (self.runs("api"), self.runs("query")) {
            (true, _) => routers::api(self),
            (false, true) => routers::query_only(self),
            (false, false) => Ok(OpenApiRouter::default()),
        }
    }

    /// The pages around the data, for the role `web`; otherwise the data alone.
    ///
    /// # Errors
    /// When `web.api` is no address, or the secret of cookies cannot be kept.
    pub fn around(&self, data: Router, config: &Config) -> Result<Router> {
        if !self.runs("web") {
            return Ok(data);
        }
        let secret = cookies::secret(config, self.folder.as_deref())?;
        if self.runs("api") {
            let web = Web::new(Api::Here(data.clone()), &secret, self.clock.clone());
            return Ok(web.around(data));
        }
        let api = Api::at(&config.text("web.api")?.unwrap_or_default()).context("web.api leads nowhere")?;
        let web = Web::new(api, &secret, self.clock.clone());
        // What this process serves itself comes first: its health, and the routes of `query` if it runs too.
        let passed = web.pass_on();
        let others = if self.runs("query") { data } else { Router::new().merge(passed).fallback_service(data) };
        Ok(web.around(others))
    }

    /// Whether one of the started roles answers questions about data.
    #[must_use]
    pub fn serves_data(&self) -> bool {
        self.keys.is_some()
    }

    fn runs(&self, role: &str) -> bool {
        self.roles.iter().any(|running| running.name == role)
    }

    /// Keeps the gauges of the queue's depths up to date, for as long as it is polled.
    pub fn watch_depths(&self) -> impl Future<Output = ()> + Send + 'static {
        let queue = self.connections.whole_queue();
        async move {
            let Some(queue) = queue else { return std::future::pending().await };
            let mut ticks = tokio::time::interval(Duration::from_secs(5));
            loop {
                ticks.tick().await;
                show_depths(&*queue).await;
            }
        }
    }

    /// Compares this machine's clock with the database server's, for as long as it is polled.
    pub fn watch_clock(&self) -> impl Future<Output = ()> + Send + 'static {
        let (reader, clock) = (self.connections.database_server(), self.clock.clone());
        async move {
            let Some(reader) = reader else { return std::future::pending().await };
            let mut ticks = tokio::time::interval(CLOCK_EVERY);
            loop {
                ticks.tick().await;
                match clock_skew(&reader, &clock).await {
                    Ok(skew) => show_skew(skew),
                    Err(error) => tracing::debug!(%error, "the database's clock is not known now"),
                }
            }
        }
    }

    fn keys(&self) -> Result<&Keys> {
        self.keys.as_ref().context("a role that listens has no keys to check")
    }
}

/// How far this machine's clock is ahead of the database server's, in µs, as exactly as the answer was quick.
///
/// # Errors
/// Those of the database.
pub async fn clock_skew(reader: &Reader, clock: &Clock) -> Result<Micros, DbError> {
    let mut read = reader.read().await?;
    let before = clock.now();
    let row = read.row(&CLOCK, &[]).await?;
    let there: Micros = row.map(|row| row.get(0)).transpose()?.unwrap_or(before);
    let (now, halfway) = (clock.now(), (clock.now() - before) / 2);
    Ok(now - halfway - there)
}

fn show_skew(skew: Micros) {
    metrics::gauge!("antiphon_clock_ahead_of_database_seconds").set(skew as f64 / 1e6);
    if skew.abs() > SKEW {
        let ahead = skew as f64 / 1e6;
        tracing::warn!(
            "this machine's clock is {ahead:.1} s ahead of the database's; set both (timedatectl set-ntp true)"
        );
    }
}

async fn show_depths(queue: &dyn Queue) {
    let depths = match queue.depths().await {
        Ok(depths) => depths,
        Err(error) => {
            tracing::debug!(%error, "the depth of the queue is not known now");
            return;
        }
    };
    for depth in depths {
        let group = depth.group;
        metrics::gauge!("antiphon_queue_waiting", "group" => group.clone()).set(depth.waiting as f64);
        metrics::gauge!("antiphon_queue_in_flight", "group" => group.clone()).set(depth.in_flight as f64);
        metrics::gauge!("antiphon_queue_dead", "group" => group.clone()).set(depth.dead as f64);
        metrics::gauge!("antiphon_queue_oldest_seconds", "group" => group).set(depth.oldest as f64 / 1e6);
    }
}

/// How this process calls itself in leases.
fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {}", host.trim(), std::process::id())
}

/// The jobs of all capabilities.
fn all_jobs(database: &Database, blobs: &Arc<dyn Blobs>, clock: &Clock, songs: &Songs) -> Vec<Job> {
    let handles = (database.clone(), Arc::clone(blobs), clock.clone());
    let retention = {
        let handles = handles.clone();
        Job::new("retention", "lets go of everything whose time is over", RETENTION_EVERY, move || {
            let (database, blobs, clock) = handles.clone();
            async move {
                let run = store::retention::run(&database, &blobs, clock.now()).await;
                run.map_err(|error| JobError::Retry(error.to_string()))
            }
        })
    };
    let reanalyze = {
        let handles = (database.clone(), clock.clone(), songs.clone());
        let about = "queues songs again whose results are of an older plan or of older algorithms, a few at a time";
        Job::new("reanalyze-songs", about, REANALYZE_EVERY, move || {
            let (database, clock, songs) = handles.clone();
            async move {
                let run = store::reanalysis::run(&database, &clock, &songs.plan, songs.again_at_once).await;
                run.map_err(JobError::from)
            }
        })
    };
    let forget = {
        let handles = (database.clone(), clock.clone());
        let about = "lets go of changes of alerts and of notices after 400 days";
        Job::new("forget-alerts", about, FORGET_EVERY, move || {
            let (database, clock) = handles.clone();
            async move { alerts::expire(&database, clock.now()).await.map_err(JobError::from) }
        })
    };
    let sweep = Job::new("sweep-songs", "removes files of songs that crashes left behind", SWEEP_EVERY, move || {
        let (database, blobs, clock) = handles.clone();
        async move {
            let swept = antiphon_catalog::sweep(&database, &*blobs, &clock).await;
            swept.map(|_| ()).map_err(|error| JobError::Retry(error.to_string()))
        }
    });
    vec![retention, reanalyze, forget, sweep]
}
