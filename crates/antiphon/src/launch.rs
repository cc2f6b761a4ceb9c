//! `antiphon up` and `antiphon run`: starting roles, saying when they are ready, ending them in good order.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use antiphon_platform::clock::Clock;
use antiphon_platform::config::Config;
use antiphon_platform::http::health::Checks;
use antiphon_platform::http::{Finish, finish, health, nearest, serve};
use antiphon_platform::telemetry::{self, Metrics};
use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::Globals;
use crate::data_folder::DataFolder;
use crate::roles::{self, Permitted, Role};
use crate::running::Announcement;
use crate::supervise::supervise;
use crate::wiring::{Connections, Wiring};
use crate::{openapi, settings};

/// How long everything may take to end after the signal to stop, before it is cut.
const GRACE: Duration = Duration::from_secs(15);

/// Threads of the async runtime at most: they only hand work on, computing has threads of its own.
const ASYNC_THREADS: usize = 4;

/// Options of both commands.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Address and port to listen on; port 0 picks a free one. [default: 127.0.0.1:8470]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Address and port for /livez, /readyz and /metrics of roles that do not listen.
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<String>,
    /// Refuse to start when a connection is set that no started role may use.
    #[arg(long)]
    strict: bool,
}

/// What can be said after `antiphon up`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  antiphon up\n  antiphon up --listen 0.0.0.0:8470 --data /var/lib/antiphon\n  antiphon up --listen 127.0.0.1:0"
)]
pub struct UpArguments {
    #[command(flatten)]
    options: Options,
    /// With sample data and public reads; not in this version.
    #[arg(long)]
    demo: bool,
}

/// What can be said after `antiphon run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  antiphon run api --listen 0.0.0.0:8470\n  antiphon run analyze --metrics 127.0.0.1:9100\n  \
                        antiphon run write relay\n  antiphon run job retention"
)]
pub struct RunArguments {
    /// Roles, as `antiphon roles` lists them; or `job` and the job's name.
    #[arg(required = true, value_name = "ROLE")]
    roles: Vec<String>,
    #[command(flatten)]
    options: Options,
}

/// Runs every role.
///
/// # Errors
/// What keeps it from running, in words.
pub fn up(arguments: &UpArguments, globals: &Globals) -> Result<ExitCode> {
    if arguments.demo {
        bail!("--demo is not in this version yet; start without it, then try `antiphon sensor simulate`");
    }
    start(roles::of_up().collect(), None, &arguments.options, globals)
}

/// Runs some roles, or one job.
///
/// # Errors
/// What keeps it from running, in words.
pub fn run(arguments: &RunArguments, globals: &Globals) -> Result<ExitCode> {
    if arguments.roles[0] == "job" {
        let [_, job] = &arguments.roles[..] else { bail!("say which job: antiphon run job NAME") };
        let role = roles::find("job").context("the role table has no role job")?;
        return start(vec![role], Some(job), &arguments.options, globals);
    }
    let mut started: Vec<&'static Role> = Vec::new();
    for name in &arguments.roles {
        match roles::find(name) {
            Some(role) if role.name == "job" => bail!("a job runs alone: antiphon run job NAME"),
            Some(role) if started.iter().any(|other| other.name == role.name) => bail!("the role {name} is said twice"),
            Some(role) => started.push(role),
            None => {
                let near = nearest(name, roles::ROLES.iter().map(|role| role.name));
                let hint = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
                bail!("there is no role {name:?}{hint} `antiphon roles` lists them");
            }
        }
    }
    start(started, None, &arguments.options, globals)
}

fn start(roles: Vec<&'static Role>, job: Option<&str>, options: &Options, globals: &Globals) -> Result<ExitCode> {
    let given = [("--listen", "http.listen", &options.listen), ("--metrics", "http.metrics", &options.metrics)];
    let flags = given.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value.clone()?))).collect();
    let config = settings::load(&globals.data, flags)?;
    config.check()?;
    telemetry::start_logs(&config.text("log.level")?.unwrap_or_default())?;
    refuse_forbidden(&config, &roles, options.strict)?;
    let folder = DataFolder::open(&globals.data)?;
    let threads = antiphon_platform::cpu::cores().clamp(1, ASYNC_THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(64)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let ended = runtime.block_on(run_roles(&roles, job, &config, folder));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Connections that are set, but that none of the roles may use: ignored with a note, or refused.
fn refuse_forbidden(config: &Config, roles: &[&'static Role], strict: bool) -> Result<()> {
    let permitted = Permitted::of(roles);
    let connections = [
        ("database.url", permitted.database != roles::Access::None),
        ("queue.url", permitted.queue),
        ("blobs.url", permitted.blobs != roles::Access::None),
    ];
    let names = roles.iter().map(|role| role.name).collect::<Vec<_>>().join(", ");
    for (key, _) in connections.iter().filter(|(_, may)| !may) {
        if config.text(key)?.is_none() {
            continue;
        }
        let origin = config.origin(key)?;
        if strict {
            bail!("{origin}: {key} is set, but {names} may not open it; remove it, or start without --strict");
        }
        tracing::warn!(setting = key, %origin, "ignored: {names} may not open it");
    }
    Ok(())
}

async fn run_roles(
    roles: &[&'static Role],
    job: Option<&str>,
    config: &Config,
    folder: DataFolder,
) -> Result<ExitCode> {
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let metrics = Metrics::install()?;
    let listens = roles.iter().any(|role| role.listens);
    let listener = if listens { Some(bind(config, "http.listen").await?) } else { None };
    let observer =
        if config.text("http.metrics")?.is_some() { Some(bind(config, "http.metrics").await?) } else { None };

    let connections = tokio::select! {
        connections = Connections::open(roles, config, &folder) => connections?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let wiring = Wiring::new(roles, config, &folder, connections, Clock::system()).await?;
    if let Some(name) = job {
        return wiring.run_job(name, stop).await;
    }

    let mut tasks = JoinSet::new();
    let mut checks = wiring.checks();
    for (name, task) in wiring.tasks(&stop)? {
        let state = supervise(&mut tasks, name, task, stop.clone());
        checks.add(&format!("role {name}"), move || std::future::ready(state.health()));
    }
    tasks.spawn(until(stop.clone(), metrics.clone().keep()));
    let depths = wiring.watch_depths();
    tasks.spawn(until(stop.clone(), depths));
    let limit = config.integer("http.connections")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(1_024);
    if let Some((listener, _)) = observer {
        let router = finish(health::routes(checks.clone(), metrics.clone()), paths(health::PATHS.iter()));
        tasks.spawn(serve(listener, router, limit, stop.clone()));
    }
    let mut announcement = None;
    let mut address = None;
    if let Some((listener, at)) = listener {
        let (router, document) = wiring.router().await?.split_for_parts();
        let known =
            document.paths.paths.keys().chain(openapi::PATHS.map(String::from).iter()).cloned().collect::<Vec<_>>();
        let document = openapi::complete(document);
        let router = router.merge(openapi::routes(&document)?).merge(health::routes(checks.clone(), metrics));
        let origins =
            config.texts("http.cors_origins")?.iter().map(|origin| origin.parse()).collect::<Result<Vec<_>, _>>();
        let cors_origins = origins.context("http.cors_origins holds what is no origin")?;
        let routes = known.into_iter().chain(health::PATHS.map(String::from)).collect();
        tasks.spawn(serve(listener, finish(router, Finish { routes, cors_origins }), limit, stop.clone()));
        if roles.iter().any(|role| role.name == "api") {
            announcement = Some(Announcement::make(&folder.run(), at)?);
        }
        address = Some(at);
    }

    let ready = tokio::select! {
        () = until_ready(&checks) => true,
        () = stop.cancelled() => false,
    };
    if ready {
        say_ready(roles, address)?;
    }
    tokio::select! {
        () = folder.keep() => {}
        () = stop.cancelled() => {}
    }
    drop(announcement);
    let finished = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        tracing::warn!("some work did not end within {} s and is cut; it will be done again", GRACE.as_secs());
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn paths<'a>(paths: impl Iterator<Item = &'a &'a str>) -> Finish {
    Finish { routes: paths.map(|path| (*path).to_owned()).collect(), cors_origins: Vec::new() }
}

/// Polls `work` until `stop` fires.
async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

async fn bind(config: &Config, key: &str) -> Result<(TcpListener, SocketAddr)> {
    let text = config.text(key)?.unwrap_or_default();
    let listener = TcpListener::bind(&text).await.with_context(|| {
        format!(
            "cannot listen on {text} ({key}, {}); another port can be set, and port 0 picks a free one",
            config.origin(key).map(ToString::to_string).unwrap_or_default()
        )
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The first signal ends in good order, the second at once.
fn stop_on_signals(stop: &CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let stop = stop.clone();
    tokio::spawn(async move {
        for count in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if count > 0 {
                std::process::exit(130);
            }
            tracing::info!("stopping; a second signal ends at once");
            stop.cancel();
        }
    });
    Ok(())
}

/// Returns when every check is well; says meanwhile what is not.
async fn until_ready(checks: &Checks) {
    let mut said = BTreeMap::new();
    loop {
        let readiness = checks.run_now().await;
        if readiness.status == "ok" {
            return;
        }
        for check in readiness.checks.into_iter().filter(|check| check.detail.is_some()) {
            if said.insert(check.name.clone(), check.detail.clone()) != Some(check.detail.clone()) {
                tracing::info!(check = check.name, detail = check.detail, "not ready yet");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The one line of standard output.
fn say_ready(roles: &[&'static Role], address: Option<SocketAddr>) -> Result<()> {
    let line = match address {
        Some(address) => format!("antiphon is ready at http://{address}"),
        None => format!("antiphon {} is ready", roles.iter().map(|role| role.name).collect::<Vec<_>>().join(", ")),
    };
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("cannot write to standard output")
}
