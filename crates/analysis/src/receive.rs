//! Role `receive`: pulls Icecast and SHOUTcast, HLS and RTSP streams, and publishes them to the inbox as a sensor would.
//!
//! | step | where |
//! |---|---|
//! | connect, only to permitted addresses; read titles; connect again with backoff | `station`, `hls`, `rtsp` |
//! | decode: WAV and FLAC here, everything else by ffmpeg, a child process without network and with limits | `decode`, `ffmpeg` |
//! | give each sample its time, cut at borders of the epoch | [`crate::pieces`] |
//! | publish; keep what cannot be published, as long as there is room | `publish` |
//!
//! A stream says nothing of its time, so its samples get the time at which they arrived, smoothed: what arrives first is
//! what was heard last (servers send some seconds of the past to who connects), from there on samples are counted, and
//! the count follows the smallest delay of a minute in steps of at most 15 ms. When arrivals are off by more than a second
//! for five seconds, or the connection was lost, the count begins anew. So times are right to about a second behind the
//! station, and what was not received is a gap.

mod decode;
mod ffmpeg;
mod hls;
mod playlist;
mod publish;
mod rtsp;
mod station;
mod titles;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use antiphon_platform::clock::Clock;
use antiphon_platform::config::{Config, ConfigError, Kind, Setting};
use antiphon_platform::outbound::{Allow, AllowError, Outbound};
use antiphon_platform::queue::Queue;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::pieces::Following;
use crate::sensors::check_id;

/// The settings of this role.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "receive.streams",
        kind: Kind::Texts,
        default: "",
        // Addresses of cameras hold passwords.
        secret: true,
        help: "streams that role receive pulls, each SENSOR=URL: http:, https: (Icecast, SHOUTcast, HLS) or rtsp:; \
               ffmpeg shows an RTSP password in the machine's list of processes",
    },
    Setting {
        key: "receive.allow",
        kind: Kind::Texts,
        default: "",
        secret: false,
        help: "hosts, addresses and ranges (10.0.0.0/8) that streams may come from although they are not public",
    },
    Setting {
        key: "receive.ffmpeg",
        kind: Kind::Text,
        default: "ffmpeg",
        secret: false,
        help: "the program that decodes what is neither WAV nor FLAC",
    },
];

/// What to receive, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The streams.
    pub streams: Vec<Stream>,
    /// What may be reached beside public addresses.
    pub allow: Allow,
    /// The decoding program, found by `PATH`.
    pub ffmpeg: String,
    /// The first and the longest pause before connecting again.
    pub again: (Duration, Duration),
    /// How times follow the arrivals of a stream that is sent as it is heard.
    pub following: Following,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The sensor that it is to be.
    pub sensor: String,
    /// Where it comes from.
    pub url: Url,
}

/// What cannot be received.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A setting leads nowhere.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An entry of `receive.streams`, by its number: it may hold a password.
    #[error("receive.streams: entry {0} {1}; write SENSOR=URL, such as radio=https://radio.example.org/live.mp3")]
    Stream(usize, String),
    /// An entry of `receive.allow`.
    #[error("receive.allow: {0}")]
    Allow(#[from] AllowError),
}

impl Options {
    /// Reads [`SETTINGS`].
    ///
    /// # Errors
    /// [`OptionsError`] for what cannot be used.
    pub fn read(config: &Config) -> Result<Self, OptionsError> {
        let mut sensors = BTreeSet::new();
        let mut streams = Vec::new();
        for (index, entry) in config.texts("receive.streams")?.iter().enumerate() {
            let stream = parse_stream(entry).map_err(|wrong| OptionsError::Stream(index + 1, wrong))?;
            if !sensors.insert(stream.sensor.clone()) {
                return Err(OptionsError::Stream(index + 1, format!("is a second stream of sensor {}", stream.sensor)));
            }
            streams.push(stream);
        }
        Ok(Self {
            streams,
            allow: Allow::parse(&config.texts("receive.allow")?)?,
            ffmpeg: config.text("receive.ffmpeg")?.unwrap_or_else(|| String::from("ffmpeg")),
            again: (Duration::from_secs(1), Duration::from_secs(60)),
            following: Following::STREAM,
        })
    }
}

fn parse_stream(entry: &str) -> Result<Stream, String> {
    let (sensor, url) = entry.split_once('=').ok_or_else(|| String::from("has no ="))?;
    let (sensor, url) = (sensor.trim(), url.trim());
    check_id(sensor).map_err(|problem| format!("names no sensor: {}", problem.detail))?;
    let url = Url::parse(url).map_err(|error| format!("has no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https" | "rtsp") {
        return Err(format!("begins with {}:, but http:, https: and rtsp: are received", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(String::from("has no host"));
    }
    Ok(Stream { sensor: sensor.to_owned(), url })
}

/// Receives until `stop` fires.
pub async fn run(queue: Arc<dyn Queue>, clock: Clock, options: Options, stop: CancellationToken) {
    let outbound = Outbound::new(options.allow.clone());
    let mut stations = JoinSet::new();
    for stream in &options.streams {
        let station = station::Station {
            queue: Arc::clone(&queue),
            clock: clock.clone(),
            outbound: outbound.clone(),
            options: options.clone(),
            stream: stream.clone(),
        };
        stations.spawn(station::run(station, stop.clone()));
    }
    if stations.is_empty() {
        tracing::debug!("there is nothing to receive: receive.streams is not set");
        return stop.cancelled().await;
    }
    while let Some(ended) = stations.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "receiving a stream failed; it is received again after a restart");
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_platform::config::Sources;

    use super::*;

    fn options(streams: &str, allow: &str) -> Result<Options, OptionsError> {
        let flags =
            vec![("--streams", "receive.streams", streams.to_owned()), ("--allow", "receive.allow", allow.to_owned())];
        let sources = Sources { flags, ..Sources::default() };
        Options::read(&Config::load(&[SETTINGS], &sources).unwrap())
    }

    #[test]
    fn streams_are_read_from_the_settings() {
        let read =
            options("radio=http://radio.example.org:8000/live?a=b, cam=rtsp://me:pass@10.0.0.7/1", "10.0.0.7").unwrap();
        assert_eq!(read.streams.len(), 2);
        assert_eq!(read.streams[0].url.as_str(), "http://radio.example.org:8000/live?a=b");
        assert_eq!((read.streams[1].sensor.as_str(), read.ffmpeg.as_str()), ("cam", "ffmpeg"));
        assert!(read.allow.permits("x", "10.0.0.7".parse().unwrap()));
        assert!(options("", "").unwrap().streams.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_without_what_may_be_secret() {
        let cases = [
            ("http://radio.example.org/?a=b", "entry 1 names no sensor"),
            ("radio", "entry 1 has no ="),
            ("radio=x", "entry 1 has no address"),
            ("a=http://b/,radio=ftp://me:hush@x/", "entry 2 begins with ftp:"),
            ("Radio=http://x/", "entry 1 names no sensor"),
            ("a=http://b/,a=http://c/", "entry 2 is a second stream of sensor a"),
            ("a=rtsp:x", "entry 1 has no host"),
        ];
        for (streams, expected) in cases {
            let error = options(streams, "").unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hush"), "{streams}: {error}");
        }
        assert!(options("", "300.0.0.0/8").unwrap_err().to_string().contains("receive.allow"));
    }
}
