//! Every setting of the binary, and where their values come from.

use std::path::Path;

use antiphon_platform::config::{Config, ConfigError, Kind, Setting, Sources};

/// The settings that wiring itself uses.
pub const SETTINGS: &[Setting] = &[
    setting("http.listen", Kind::Text, "127.0.0.1:8470", "address and port to listen on; port 0 picks a free one"),
    setting(
        "http.metrics",
        Kind::Text,
        "",
        "address and port for /livez, /readyz and /metrics of roles that do not listen",
    ),
    setting("http.connections", Kind::Integer(1, 100_000), "1024", "connections open at once; the rest waits"),
    setting(
        "http.cors_origins",
        Kind::Texts,
        "",
        "origins that browsers may call the API from, such as https://example.org",
    ),
    setting("auth.public_reads", Kind::Boolean, "false", "GETs need no key (dead letters and keys always do)"),
    setting(
        "limits.requests_per_second",
        Kind::Number(0.001, 1e6),
        "",
        "requests a second of one key; not set: any number",
    ),
    setting(
        "limits.recording_bytes",
        Kind::Integer(1, 1 << 30),
        "16777216",
        "largest audio file of a sensor, in bytes",
    ),
    setting("limits.song_bytes", Kind::Integer(1, 1 << 40), "1073741824", "largest song, in bytes"),
    setting(
        "database.url",
        Kind::Text,
        "",
        "sqlite:PATH or postgres://USER@HOST:PORT/DATABASE; not set: antiphon.db in the data folder",
    ),
    setting("database.username", Kind::Text, "", "the account, in place of the one in database.url"),
    secret("database.password", "its password, in place of the one in database.url"),
    setting(
        "queue.url",
        Kind::Text,
        "",
        "folder:PATH, amqp://USER@HOST:PORT/VHOST or amqps://...; not set: queue in the data folder",
    ),
    setting("queue.username", Kind::Text, "", "the account, in place of the one in queue.url"),
    secret("queue.password", "its password, in place of the one in queue.url"),
    secret(
        "queue.management_url",
        "the broker's management, http://ADMIN:PASSWORD@HOST:15672: where `antiphon sensor broker` makes accounts",
    ),
    setting(
        "blobs.url",
        Kind::Text,
        "",
        "folder:PATH or s3://BUCKET/PREFIX?region=REGION&endpoint=URL; not set: blobs in the data folder",
    ),
    setting("blobs.username", Kind::Text, "", "the access key's id; not set: what the environment of AWS gives"),
    secret("blobs.password", "the secret access key; not set: what the environment of AWS gives"),
    setting(
        "shutdown.seconds",
        Kind::Integer(1, 3_600),
        "15",
        "how long everything may take to end after the signal to stop, before it is cut; requests get half of it",
    ),
    setting(
        "analyze.workers",
        Kind::Integer(1, 1_024),
        "",
        "recordings analysed at once by one process; not set: one for each core",
    ),
    setting(
        "write.prefetch",
        Kind::Integer(1, 65_535),
        "400",
        "results that one process holds at most, not yet acknowledged: each takes up to 1 MiB of memory",
    ),
];

const fn setting(key: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { key, kind, default, secret: false, help }
}

const fn secret(key: &'static str, help: &'static str) -> Setting {
    Setting { key, kind: Kind::Text, default: "", secret: true, help }
}

/// The tables of everybody who can be configured.
pub const TABLES: &[&[Setting]] = &[
    SETTINGS,
    antiphon_analysis::plan::SETTINGS,
    antiphon_analysis::receive::SETTINGS,
    antiphon_notify::SETTINGS,
    antiphon_platform::telemetry::SETTINGS,
    antiphon_web::SETTINGS,
];

/// A setting that was given as an option: the option, the setting, the value.
pub type Flag = (&'static str, &'static str, String);

/// Defaults, file, environment and `flags`, in this order.
///
/// # Errors
/// Everything that is wrong, with its place.
pub fn load(data: &Path, flags: Vec<Flag>) -> Result<Config, ConfigError> {
    let mut sources = Sources::find(Path::new(""), data)?;
    sources.flags = flags;
    Config::load(TABLES, &sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_what_their_settings_allow() {
        let config = Config::load(TABLES, &Sources::default()).unwrap();
        config.check().unwrap();
        assert_eq!(config.integer("limits.recording_bytes").unwrap(), Some(16 * 1024 * 1024));
        assert_eq!(config.integer("limits.song_bytes").unwrap(), Some(1024 * 1024 * 1024));
        let prefetch = i64::try_from(antiphon_analysis::store::writer::PREFETCH).unwrap();
        assert_eq!(config.integer("write.prefetch").unwrap(), Some(prefetch));
        assert!(!config.boolean("auth.public_reads").unwrap());
    }

    #[test]
    fn a_writer_holds_as_many_results_as_a_broker_can_be_asked_for() {
        let load = |value: &str| {
            let environment = vec![(String::from("ANTIPHON_WRITE__PREFETCH"), value.to_owned())];
            Config::load(TABLES, &Sources { environment, ..Sources::default() })
        };
        for good in ["1", "65535"] {
            assert_eq!(load(good).unwrap().integer("write.prefetch").unwrap(), good.parse().ok());
        }
        for bad in ["0", "65536", "-1", "many"] {
            let refusal = load(bad).err().unwrap().to_string();
            let says = ["ANTIPHON_WRITE__PREFETCH", bad, "a whole number from 1 to 65535"];
            assert!(says.iter().all(|part| refusal.contains(part)), "{refusal}");
        }
    }

    #[test]
    fn no_setting_is_declared_twice_and_all_say_what_they_do() {
        let mut keys: Vec<&str> = TABLES.iter().copied().flatten().map(|setting| setting.key).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
        assert!(TABLES.iter().copied().flatten().all(|setting| !setting.help.is_empty() && setting.key.contains('.')));
    }
}
