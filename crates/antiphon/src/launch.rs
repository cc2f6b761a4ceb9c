//! `antiphon up` and `antiphon run`: starting roles, saying when they are ready, ending them in good order.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use antiphon_platform::clock::Clock;
use antiphon_platform::config::Config;
use antiphon_platform::http::health::Checks;
use antiphon_platform::http::server::CONNECTIONS;
use antiphon_platform::http::{Finish, finish, health, serve};
use antiphon_platform::telemetry::{self, Metrics};
use anyhow::{Context, Result, bail};
use axum::Router;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::{DEFAULT_DATA, Globals};
use crate::data_folder::DataFolder;
use crate::roles::{self, Permitted, Role};
use crate::running::Claim;
use crate::served::{Served, bare};
use crate::supervise::supervise;
use crate::wiring::{Connections, PORTS, Places, Settled, Waiting, Wiring};
use crate::{demo, openapi, running, settings};

/// How long everything may take to end after the signal to stop, before it is cut, unless a setting says otherwise.
const GRACE: Duration = Duration::from_secs(15);

/// How long a job waits for servers: who starts it by the clock starts it again.
const JOB_WAITS: Duration = Duration::from_secs(60);

/// Threads of the async runtime at most: they only hand work on, computing has threads of its own.
const ASYNC_THREADS: usize = 4;

/// The port of what listens, where an example names one.
const PORT: u16 = 8470;

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
    after_help = "Examples:\n  antiphon up\n  antiphon up --demo\n  antiphon up --listen 0.0.0.0:8470 --data /var/lib/antiphon\n  \
                  antiphon up --listen 127.0.0.1:0"
)]
pub struct UpArguments {
    #[command(flatten)]
    options: Options,
    /// Try it out: two simulated sensors with a day of history, a few pieces of music, and reads without a key. All of it
    /// lies in a data folder of its own, ./antiphon-demo unless --data names another: remove that folder to be rid of it.
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
    let asked = Asked::Up { demo: arguments.demo };
    let globals = if arguments.demo { &demo::globals(globals) } else { globals };
    start(roles::of_up().collect(), asked, &arguments.options, globals)
}

/// Runs some roles, or one job.
///
/// # Errors
/// What keeps it from running, in words.
pub fn run(arguments: &RunArguments, globals: &Globals) -> Result<ExitCode> {
    if arguments.roles[0] == "job" {
        let [_, job] = &arguments.roles[..] else { bail!("say which job: antiphon run job NAME") };
        let role = roles::find("job").context("the role table has no role job")?;
        return start(vec![role], Asked::Job(job), &arguments.options, globals);
    }
    let mut started: Vec<&'static Role> = Vec::new();
    for name in &arguments.roles {
        let role = roles::named(name)?;
        if role.name == "job" {
            bail!("a job runs alone: antiphon run job NAME");
        }
        if started.iter().any(|other| other.name == role.name) {
            bail!("the role {name} is said twice");
        }
        started.push(role);
    }
    start(started, Asked::Run, &arguments.options, globals)
}

/// What was asked for.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// Everything, for commands beside it on the data folder; for `demo` with simulated sensors.
    Up { demo: bool },
    /// Some roles.
    Run,
    /// One job of this name, once.
    Job(&'a str),
}

fn start(roles: Vec<&'static Role>, asked: Asked<'_>, options: &Options, globals: &Globals) -> Result<ExitCode> {
    let given = [("--listen", "http.listen", &options.listen), ("--metrics", "http.metrics", &options.metrics)];
    let mut flags: Vec<settings::Flag> =
        given.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value.clone()?))).collect();
    if let Asked::Up { demo: true } = asked {
        flags.push(("--demo", "auth.public_reads", String::from("true")));
    }
    let config = settings::load(&globals.data, flags)?;
    telemetry::start_logs(&config.text("log.level")?.unwrap_or_default())?;
    refuse_forbidden(&config, &roles, options.strict)?;
    keep_others_out();
    if let Asked::Up { demo: true } = asked {
        demo::take(&globals.data, &config)?;
    }
    allow_open_files();
    let threads = antiphon_platform::cpu::cores().clamp(1, ASYNC_THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(64)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let ended = runtime.block_on(async {
        let mut settled = Settled::of(config, &globals.data, &Permitted::of(&roles)).await?;
        if settled.folder.is_none() {
            settled.folder = folder_beside_servers(&roles, asked, globals)?;
        }
        if let (Asked::Up { .. }, Some(folder)) = (asked, settled.folder.as_ref().filter(|folder| folder.is_new())) {
            eprintln!("made a new, empty data folder: {}", folder.path().display());
        }
        run_roles(&roles, asked, settled, globals).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// The data folder of a process whose engines are all servers. Most roles keep nothing here and have none, so that they
/// run where nothing can be written. `up` has one, for commands beside it; `api` uses one that it is told of for the first
/// operator's key, if it can.
fn folder_beside_servers(roles: &[&'static Role], asked: Asked<'_>, globals: &Globals) -> Result<Option<DataFolder>> {
    if let Asked::Up { .. } = asked {
        return DataFolder::open(&globals.data).map(Some);
    }
    let told = globals.data != Path::new(DEFAULT_DATA) || globals.data.exists();
    if !told || roles.iter().all(|role| role.name != "api") {
        return Ok(None);
    }
    match DataFolder::open(&globals.data) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) => {
            tracing::info!(reason = %error, "going on without a data folder");
            Ok(None)
        }
    }
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
    let names = names(roles);
    let shown = config.show();
    let set: Vec<&str> = shown.iter().filter(|shown| !shown.value.is_empty()).map(|shown| shown.key).collect();
    for port in PORTS.iter().filter(|port| !permitted.permits(port)) {
        for what in ["url", "username", "password"] {
            let key = format!("{}.{what}", port.name);
            // Where it leads is not looked up: that may be forbidden too.
            if !set.contains(&key.as_str()) {
                continue;
            }
            let origin = config.origin(&key)?;
            if strict {
                bail!("{origin}: {key} is set, but {names} may not open it; remove it, or start without --strict");
            }
            tracing::warn!(setting = key, %origin, "ignored: {names} may not open it");
        }
    }
    Ok(())
}

async fn run_roles(roles: &[&'static Role], asked: Asked<'_>, settled: Settled, globals: &Globals) -> Result<ExitCode> {
    let Settled { config, locations, folder } = settled;
    let config = &config;
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let metrics = Metrics::install()?;
    let claim = match &folder {
        Some(folder) if roles.iter().any(|role| role.name == "api") => claim(folder, asked)?,
        _ => None,
    };
    let listens = roles.iter().any(|role| role.listens);
    let listener = if listens { Some(bind(config, "http.listen").await?) } else { None };
    let observer =
        if config.text("http.metrics")?.is_some() { Some(bind(config, "http.metrics").await?) } else { None };
    let address = listener.as_ref().map(|(_, address)| *address);
    let whole = |key| -> Result<Option<u64>> { Ok(config.integer(key)?.and_then(|number| number.try_into().ok())) };
    let limit = whole("http.connections")?.and_then(|limit| limit.try_into().ok()).unwrap_or(CONNECTIONS);
    let grace = whole("shutdown.seconds")?.map_or(GRACE, Duration::from_secs);

    // Health is told from the first moment on; what else is served comes when every connection is open.
    let waiting = Waiting::default();
    let mut tasks = JoinSet::new();
    let mut serve_later = |listener: Option<(TcpListener, SocketAddr)>| {
        let served = Served::starting(waiting.clone(), metrics.clone());
        if let Some((listener, _)) = listener {
            tasks.spawn(serve(listener, served.router(), limit, grace / 2, stop.clone()));
        }
        served
    };
    let (main, health_only) = (serve_later(listener), serve_later(observer));

    let open = Connections::open(roles, &locations, &waiting);
    let given_up = async {
        match asked {
            Asked::Job(_) => tokio::time::sleep(JOB_WAITS).await,
            Asked::Up { .. } | Asked::Run => std::future::pending().await,
        }
    };
    let connections = tokio::select! {
        connections = open => connections?,
        () = given_up => bail!("{}", waiting.health().err().unwrap_or_default()),
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let run = folder.as_ref().filter(|_| claim.is_some()).map(DataFolder::run);
    let wiring =
        Wiring::new(roles, config, Places { folder: folder.as_ref(), run }, connections, Clock::system()).await?;
    if let Asked::Job(name) = asked {
        return wiring.run_job(name, stop).await;
    }

    let shown = folder.as_ref().map(|folder| folder.path().display().to_string());
    tracing::info!(roles = names(roles), data = shown, version = env!("CARGO_PKG_VERSION"), "starting");
    let checks = start_work(&mut tasks, &wiring, &metrics, &stop)?;
    if listens {
        main.replace(router(&wiring, config, &checks, metrics.clone())?);
    }
    health_only.replace(bare(health::routes(checks.clone(), metrics)));
    let announced = claim.zip(address).map(|(claim, address)| claim.announce(address));
    let announcement = announced.transpose().context("cannot say in the data folder where the server is")?;

    let ready = tokio::select! {
        () = until_ready(&checks) => true,
        () = stop.cancelled() => false,
    };
    if ready {
        say_ready(roles, address)?;
        if let Asked::Up { demo: true } = asked {
            demo::start(&mut tasks, globals, address, Clock::system(), &stop);
        }
    }
    tokio::select! {
        () = keep(folder.as_ref()) => {}
        () = stop.cancelled() => {}
    }
    drop(announcement);
    // What the broker is told at the end has its share, so that others get at once what is held here.
    let end = Instant::now() + grace;
    let finished = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout_at(end - grace / 4, finished).await.is_err() {
        tracing::warn!("some work did not end within {} s and is cut; it will be done again", grace.as_secs());
    }
    if tokio::time::timeout_at(end, wiring.close()).await.is_err() {
        tracing::warn!("the queue did not take back in time what was held; it will find out by itself");
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The right to be the server of the data folder. `up` is refused while another process has it; of several `run api`,
/// which other machines or a load balancer find by other means, one has it.
fn claim(folder: &DataFolder, asked: Asked<'_>) -> Result<Option<Claim>> {
    let claim = Claim::take(&folder.run()).context("cannot use the data folder")?;
    if claim.is_some() {
        return Ok(claim);
    }
    let address = running::address(folder.path());
    if let Asked::Up { .. } = asked {
        let place = address.map_or(String::from("; it is starting"), |address| format!(" at {address}"));
        bail!(
            "antiphon is already running on the data folder {}{place}. Stop it first, or start this one on another \
             folder with --data",
            folder.path().display()
        );
    }
    tracing::info!(address, "another process of this data folder is the one that commands beside it find");
    Ok(None)
}

/// Shows other machines that the data folder is in use, for as long as it is polled.
async fn keep(folder: Option<&DataFolder>) {
    match folder {
        Some(folder) => folder.keep().await,
        None => std::future::pending().await,
    }
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
    tasks.spawn(until(stop.clone(), wiring.watch_clock()));
    Ok(checks)
}

/// Everything that the started roles serve, their description and their health.
fn router(wiring: &Wiring, config: &Config, checks: &Checks, metrics: Metrics) -> Result<Router> {
    let (router, document) = wiring.router()?.split_for_parts();
    let own = openapi::PATHS.iter().chain(&health::PATHS).map(|path| (*path).to_owned());
    let routes = document.paths.paths.keys().cloned().chain(own).collect();
    let origins: Result<Vec<_>, _> = config.texts("http.cors_origins")?.iter().map(|origin| origin.parse()).collect();
    let cors_origins = origins.context("http.cors_origins holds what is no origin")?;
    let router = router.merge(health::routes(checks.clone(), metrics));
    // A process without data passes its questions on, those about the API too.
    let router =
        if wiring.serves_data() { router.merge(openapi::routes(&openapi::complete(document))?) } else { router };
    wiring.around(finish(router, Finish { routes, cors_origins }), config)
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
    let origin = config.origin(key).map(ToString::to_string).unwrap_or_default();
    if let Some(whole) = with_what_is_missing(&text) {
        bail!("cannot listen on {text} ({key}, {origin}): it takes an address and a port, such as {whole}");
    }
    let listener = TcpListener::bind(&text).await.with_context(|| {
        format!("cannot listen on {text} ({key}, {origin}); another port can be set, and port 0 picks a free one")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// An address and a port, of a text that has only one of them.
fn with_what_is_missing(text: &str) -> Option<String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, PORT).to_string());
    }
    if text.is_empty() || text.contains(':') {
        return None;
    }
    Some(if text.parse::<u16>().is_ok() { format!("127.0.0.1:{text}") } else { format!("{text}:{PORT}") })
}

/// Where others on the network find who listens on all addresses: the address of this machine that packets leave from,
/// else its name.
fn on_the_network(address: SocketAddr) -> Option<String> {
    if !address.ip().is_unspecified() {
        return None;
    }
    // Connecting this kind of socket only chooses a way: nothing is sent to that address, which is nobody's (RFC 5737).
    let leaving = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    if let Ok(local) = leaving {
        return Some(SocketAddr::new(local.ip(), address.port()).to_string());
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(format!("{}:{}", name.trim(), address.port()))
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
    writeln!(output, "{line}").and_then(|()| output.flush()).context("cannot write to standard output")?;
    // Programs read the line above; nobody can open an address that stands for all.
    if let Some(place) = address.and_then(on_the_network) {
        eprintln!(
            "from other machines: http://{place} (plain HTTP, for a network you trust; over others by a proxy with TLS)"
        );
    }
    Ok(())
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
        let settled = Settled::of(config, &folder.path().join("data"), &Permitted::of(&roles)).await.unwrap();
        let (config, data) = (settled.config, settled.folder.unwrap());
        let connections = Connections::open(&roles, &settled.locations, &Waiting::default()).await.unwrap();
        let places = Places { folder: Some(&data), run: Some(data.run()) };
        let wiring = Wiring::new(&roles, &config, places, connections, Clock::system()).await.unwrap();
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
    fn what_an_address_lacks_is_told() {
        let cases = [
            ("0.0.0.0", Some("0.0.0.0:8470")),
            ("::", Some("[::]:8470")),
            ("8080", Some("127.0.0.1:8080")),
            ("localhost", Some("localhost:8470")),
            ("127.0.0.1:0", None),
            ("[::1]:80", None),
        ];
        for (text, expected) in cases {
            assert_eq!(with_what_is_missing(text).as_deref(), expected, "{text}");
        }
        assert_eq!(on_the_network("127.0.0.1:80".parse().unwrap()), None);
        if let Some(place) = on_the_network("[::]:80".parse().unwrap()) {
            assert!(place.ends_with(":80") && !place.starts_with("0.0.0.0") && !place.starts_with("[::]"), "{place}");
        }
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
