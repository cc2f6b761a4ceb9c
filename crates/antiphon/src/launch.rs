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
use antiphon_platform::http::server::CONNECTIONS;
use antiphon_platform::http::{Finish, finish, health, nearest, serve};
use antiphon_platform::telemetry::{self, Metrics};
use anyhow::{Context, Result, bail};
use axum::Router;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
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
                let hint = near.map(|near| format!(", the nearest is {near:?}")).unwrap_or_default();
                bail!("there is no role {name:?}{hint}; `antiphon roles` lists them");
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
    keep_others_out();
    let folder = DataFolder::open(&globals.data)?;
    allow_open_files();
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

/// What is made from here on, people's audio among it, can be read by the owner and by whom the owner's umask lets in
/// as group, and by nobody else.
fn keep_others_out() {
    let before = rustix::process::umask(Mode::RWXO);
    rustix::process::umask(before | Mode::RWXO);
}

/// Raises the number of files that may be open to what the system permits: its default of 1,024 would be used up by
/// connections alone.
fn allow_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Connections that are set, but that none of the roles may use: ignored with a note, or refused.
fn refuse_forbidden(config: &Config, roles: &[&'static Role], strict: bool) -> Result<()> {
    let permitted = Permitted::of(roles);
    let connections = [
        ("database.url", permitted.database != roles::Access::None),
        ("queue.url", permitted.queue),
        ("blobs.url", permitted.blobs != roles::Access::None),
    ];
    let names = names(roles);
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

    tracing::info!(roles = names(roles), data = %folder.path().display(), version = env!("CARGO_PKG_VERSION"), "starting");
    let mut tasks = JoinSet::new();
    let checks = start_work(&mut tasks, &wiring, &metrics, &stop)?;
    let limit =
        config.integer("http.connections")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(CONNECTIONS);
    if let Some((listener, _)) = observer {
        let settings = Finish { routes: health::PATHS.map(String::from).to_vec(), cors_origins: Vec::new() };
        let router = finish(health::routes(checks.clone(), metrics.clone()), settings);
        tasks.spawn(serve(listener, router, limit, stop.clone()));
    }
    let address = listener.as_ref().map(|(_, address)| *address);
    if let Some((listener, _)) = listener {
        let router = router(&wiring, config, &checks, metrics)?;
        tasks.spawn(serve(listener, router, limit, stop.clone()));
    }
    let is_api = roles.iter().any(|role| role.name == "api");
    let announced = address.filter(|_| is_api).map(|address| Announcement::make(&folder.run(), address));
    let announcement = announced.transpose().context("cannot say in the data folder where the server is")?;

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
    wiring.close().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Starts the loops of all roles, and what looks after them; the checks that say how they are.
fn start_work(tasks: &mut JoinSet<()>, wiring: &Wiring, metrics: &Metrics, stop: &CancellationToken) -> Result<Checks> {
    let mut checks = wiring.checks();
    for (name, task) in wiring.tasks(stop)? {
        let state = supervise(tasks, name, task, stop.clone());
        checks.add(&format!("role {name}"), move || std::future::ready(state.health()));
    }
    tasks.spawn(until(stop.clone(), metrics.clone().keep()));
    tasks.spawn(until(stop.clone(), wiring.watch_depths()));
    Ok(checks)
}

/// Everything that the started roles serve, their description and their health.
fn router(wiring: &Wiring, config: &Config, checks: &Checks, metrics: Metrics) -> Result<Router> {
    let (router, document) = wiring.router()?.split_for_parts();
    let own = openapi::PATHS.iter().chain(&health::PATHS).map(|path| (*path).to_owned());
    let routes = document.paths.paths.keys().cloned().chain(own).collect();
    let origins: Result<Vec<_>, _> = config.texts("http.cors_origins")?.iter().map(|origin| origin.parse()).collect();
    let cors_origins = origins.context("http.cors_origins holds what is no origin")?;
    let router =
        router.merge(openapi::routes(&openapi::complete(document))?).merge(health::routes(checks.clone(), metrics));
    Ok(finish(router, Finish { routes, cors_origins }))
}

fn names(roles: &[&'static Role]) -> String {
    roles.iter().map(|role| role.name).collect::<Vec<_>>().join(", ")
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
        None => format!("antiphon {} is ready", names(roles)),
    };
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    async fn serve_all(folder: &tempfile::TempDir) -> Router {
        let roles: Vec<&'static Role> = roles::of_up().collect();
        let config = settings::load(folder.path(), Vec::new()).unwrap();
        let data = DataFolder::open(&folder.path().join("data")).unwrap();
        let connections = Connections::open(&roles, &config, &data).await.unwrap();
        let wiring = Wiring::new(&roles, &config, &data, connections, Clock::system()).await.unwrap();
        let checks = wiring.checks();
        router(&wiring, &config, &checks, Metrics::detached()).unwrap()
    }

    async fn get(router: &Router, path: &str) -> (u16, String) {
        let response = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 10_000_000).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_description_names_every_route_and_each_asks_for_a_key_unless_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let router = serve_all(&folder).await;
        let (status, text) = get(&router, "/api/v1/openapi.json").await;
        assert_eq!(status, 200);
        let document: Value = serde_json::from_str(&text).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let paths = document["paths"].as_object().unwrap();
        for path in
            ["/livez", "/api/v1/sensors/{sensor}/recordings", "/api/v1/songs", "/api/v1/dead-letters/{id}/replay"]
        {
            assert!(paths.contains_key(path), "{path} is missing");
        }
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["operationId"].is_string(), "{method} {path} has no name");
                let open = operation["security"].as_array().is_some_and(Vec::is_empty);
                let uri = path.replace(['{', '}'], "");
                let request = Request::builder().method(method.to_uppercase().as_str()).uri(uri).body(Body::empty());
                let status = router.clone().oneshot(request.unwrap()).await.unwrap().status();
                assert_eq!(status == 401, !open, "{method} {path}: {status}");
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.values().all(|response| response["description"].is_string()), "{method} {path}");
                assert!(open || operation["responses"]["401"].is_object(), "{method} {path} does not tell of 401");
            }
        }
    }

    #[tokio::test]
    async fn references_in_the_description_lead_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let (_, text) = get(&serve_all(&folder).await, "/api/v1/openapi.json").await;
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
        }
    }

    #[tokio::test]
    async fn what_is_no_route_is_told_to_those_with_a_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let router = serve_all(&folder).await;
        assert_eq!(get(&router, "/api/v1/sensrs").await.0, 401);
        let (status, text) = get(&router, "/redyz").await;
        assert_eq!(status, 404);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["hint"], "/readyz");
        let key = std::fs::read_to_string(folder.path().join("data/operator.key"));
        // On a terminal the key is shown there instead.
        let Ok(key) = key else { return };
        let request = Request::get("/api/v1/sensrs").header("authorization", format!("Bearer {}", key.trim()));
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 404);
    }

    #[test]
    fn forbidden_connections_are_refused_only_when_strict() {
        let folder = tempfile::tempdir().unwrap();
        let flags = vec![("--x", "database.url", String::from("sqlite:/nowhere/x"))];
        let config = settings::load(folder.path(), flags).unwrap();
        let analyze = roles::find("analyze").unwrap();
        let write = roles::find("write").unwrap();
        assert!(refuse_forbidden(&config, &[analyze], false).is_ok());
        let error = refuse_forbidden(&config, &[analyze], true).unwrap_err().to_string();
        assert!(error.contains("database.url") && error.contains("analyze"), "{error}");
        assert!(refuse_forbidden(&config, &[analyze, write], true).is_ok());
    }
}
