//! Logs on standard error, metrics for Prometheus.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Kind, Setting};

/// The settings of this module.
pub const SETTINGS: &[Setting] = &[Setting {
    key: "log.level",
    kind: Kind::Text,
    default: "info",
    secret: false,
    help: "what is logged: error, warn, info, debug, trace, or a filter such as `info,antiphon_analysis=debug`; \
           the environment variable RUST_LOG goes first",
}];

/// What is never logged unless asked for by name: RabbitMQ's client writes messages that were returned whole, with the
/// audio in them, and as errors what its caller handles.
const QUIET: &str = "lapin=off";

/// Upper ends of histogram buckets for durations, in seconds.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What can go wrong when logs or metrics are set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no filter.
    #[error("log.level {filter:?} is no filter: {reason}; use a level such as info, or info,antiphon_analysis=debug")]
    Filter {
        /// What was set.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logs or metrics were set up before in this process.
    #[error("{0} are set up already")]
    Twice(&'static str),
}

/// Starts logging on standard error: for people on a terminal, JSON otherwise. Panics are logged too.
///
/// # Errors
/// [`TelemetryError`] for a filter that cannot be read, or a second call.
pub fn start_logs(level: &str) -> Result<(), TelemetryError> {
    let filter = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty()).unwrap_or_else(|| level.to_owned());
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|error| TelemetryError::Filter { filter: filter.clone(), reason: error.to_string() })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    started.map_err(|_| TelemetryError::Twice("logs"))?;
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no words");
        tracing::error!(location, panic = text, "a panic; what it was working on is refused or tried again");
    }));
    Ok(())
}

/// The metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Makes this process record what `metrics::counter!` and its like are given.
    ///
    /// # Errors
    /// [`TelemetryError::Twice`] when something else records already.
    pub fn install() -> Result<Self, TelemetryError> {
        let handle = builder().install_recorder().map_err(|_| TelemetryError::Twice("metrics"))?;
        Ok(Self { handle })
    }

    /// Metrics that nobody records into; for tests of what shows them.
    #[must_use]
    pub fn detached() -> Self {
        Self { handle: builder().build_recorder().handle() }
    }

    /// Folds what histograms have collected into buckets, so that a process that nobody scrapes does not
    /// grow; to be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Calls [`Metrics::upkeep`] for as long as it is polled.
    pub async fn keep(self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(5));
        loop {
            ticks.tick().await;
            self.upkeep();
        }
    }

    /// Everything in Prometheus' text format, the process's own figures included.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        for (name, help, value) in process_figures() {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
        }
        text
    }
}

fn builder() -> PrometheusBuilder {
    // Only an empty list of buckets is refused, and this one is not.
    PrometheusBuilder::new().set_buckets(&SECONDS).unwrap_or_else(|_| PrometheusBuilder::new())
}

/// What Linux knows of this process; elsewhere nothing.
fn process_figures() -> Vec<(&'static str, &'static str, u64)> {
    let mut figures = Vec::new();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    if let Some(kib) = field("RssAnon") {
        figures.push(("process_anonymous_memory_bytes", "Resident memory that is not backed by a file.", kib * 1024));
    }
    if let Some(kib) = field("VmRSS") {
        figures.push(("process_resident_memory_bytes", "Resident memory.", kib * 1024));
    }
    if let Some(threads) = field("Threads") {
        figures.push(("process_threads", "Threads.", threads));
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        figures.push(("process_open_fds", "Open file descriptors.", descriptors.count() as u64));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_process_are_shown() {
        let text = Metrics::detached().render();
        for name in ["process_anonymous_memory_bytes", "process_threads", "process_open_fds"] {
            assert!(text.contains(&format!("\n{name} ")), "{name} in {text}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(matches!(start_logs("info,=,=x=y"), Err(TelemetryError::Filter { .. })));
    }
}
