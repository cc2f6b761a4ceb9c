//! A whole analysis on the embedded engines in a temporary folder, called through its router.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it; what fails here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use antiphon_analysis::descriptors::keep;
use antiphon_analysis::recordings::routes::{AcceptApi, AudioApi};
use antiphon_analysis::recordings::{Acceptor, Rows, Uploads, media, routes as recordings};
use antiphon_analysis::sensors::{Directory, routes as sensors};
use antiphon_analysis::store::{dead_letters, writer};
use antiphon_analysis::workers::{Worker, analyze, analyze_songs};
use antiphon_analysis::{alerts, plan, query, store, topics};
use antiphon_audio::encode::{PcmFormat, Samples, flac, wav};
use antiphon_catalog::{SongData, SongId};
use antiphon_identity::{Keys, Options, Role, create_key};
use antiphon_platform::blobs::Blobs;
use antiphon_platform::blobs::folder::{Access as BlobAccess, FolderBlobs};
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::cpu::{Pool, Priority};
use antiphon_platform::db::{Database, DbError, Migration, WriteTransaction};
use antiphon_platform::disk;
use antiphon_platform::http::time;
use antiphon_platform::outbox;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Queue};
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

/// 2026-05-01T00:00:10Z: when these tests happen.
pub const NOW: Micros = 1_777_593_610 * SECOND;

/// The most bytes of an audio file in these tests.
pub const LIMIT: usize = 4 * 1024 * 1024;

/// Everything of one installation.
pub struct World {
    pub folder: TempDir,
    pub clock: Clock,
    pub database: Database,
    pub queue: Arc<dyn Queue>,
    pub blobs: Arc<dyn Blobs>,
    pub router: Router,
    /// An operator's key.
    pub operator: String,
    stop: CancellationToken,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The answer as JSON, if it has the status that is expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// A refusal: its status and the field it names.
    #[track_caller]
    pub fn refused(self, status: u16, field: Option<&str>) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.expect(status);
        assert_eq!(problem["field"].as_str(), field, "{problem}");
        problem
    }
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOW);
        let migrations: Vec<Migration> = [
            antiphon_identity::MIGRATIONS,
            antiphon_catalog::MIGRATIONS,
            store::MIGRATIONS,
            alerts::MIGRATIONS,
            antiphon_notify::MIGRATIONS,
        ]
        .concat();
        let url = format!("sqlite:{}", folder.path().join("antiphon.db").display());
        let database = Database::open(&url, &migrations).await.unwrap();
        let blobs: Arc<dyn Blobs> =
            Arc::new(FolderBlobs::open(disk::local(), &folder.path().join("blobs"), BlobAccess::Write).unwrap());
        let access = Access {
            publish: vec![topics::INBOX, topics::RECORDINGS, topics::LONG_RECORDINGS, topics::SONGS, topics::RESULTS],
            consume: topics::ALL.to_vec(),
            dead: topics::ALL_AND_FOREIGN.to_vec(),
        };
        let queue: Arc<dyn Queue> =
            Arc::new(FileQueue::open(&folder.path().join("queue"), access, clock.clone()).await.unwrap());
        queue.declare(&topics::ALL).await.unwrap();
        let mut transaction = database.write().await.unwrap();
        let operator = create_key(&mut transaction, &clock, &Role::Operator).await.unwrap().key;
        transaction.commit().await.unwrap();
        let router = router(&database, &queue, &blobs, &clock);
        Self { folder, clock, database, queue, blobs, router, operator, stop: CancellationToken::new() }
    }

    /// Starts the workers, the writer, and what takes dead letters in.
    pub fn start(&self) {
        self.start_without_dead_letters();
        let (database, queue) = (self.database.clone(), Arc::clone(&self.queue));
        tokio::spawn(dead_letters::run(database, queue, self.clock.clone(), self.stop.clone()));
    }

    /// Starts the workers and the writer.
    pub fn start_without_dead_letters(&self) {
        let worker = Worker {
            queue: Arc::clone(&self.queue),
            pool: Arc::new(Pool::new("test", 2, Priority::Foreground)),
            prefetch: 4,
            clock: self.clock.clone(),
        };
        let media = media::Media {
            queue: Arc::clone(&self.queue),
            blobs: Arc::clone(&self.blobs),
            reader: self.database.reader(),
            pool: Arc::clone(&worker.pool),
            prefetch: 2,
        };
        tokio::spawn(media::run(media, self.stop.clone()));
        tokio::spawn(analyze_songs::run(worker.clone(), Arc::clone(&self.blobs), self.stop.clone()));
        tokio::spawn(analyze::run(worker, self.stop.clone()));
        let (database, queue, stop) = (self.database.clone(), Arc::clone(&self.queue), self.stop.clone());
        tokio::spawn(async move { outbox::relay(database, queue.as_ref(), &topics::ALL, stop).await });
        let (database, queue) = (self.database.clone(), Arc::clone(&self.queue));
        tokio::spawn(writer::run(database, queue, self.clock.clone(), writer::PREFETCH, self.stop.clone()));
        let (database, queue) = (self.database.clone(), Arc::clone(&self.queue));
        tokio::spawn(keep::run(database, queue, self.clock.clone(), self.stop.clone()));
    }

    pub async fn call(&self, method: &str, path: &str, key: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &self.operator, &[], Body::empty()).await
    }

    pub async fn send(&self, method: &str, path: &str, json: Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.call(method, path, &self.operator, &headers, Body::from(json.to_string())).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &self.operator, &[], Body::empty()).await
    }

    /// Makes a sensor; its key.
    pub async fn sensor(&self, id: &str) -> String {
        let made = self.send("POST", "/api/v1/sensors", serde_json::json!({ "id": id })).await.expect(201);
        made["key"].as_str().unwrap().to_owned()
    }

    /// Posts audio with the operator's key.
    pub async fn post(&self, sensor: &str, start: &str, lead_in: &str, audio: Vec<u8>) -> Answer {
        let path = format!("/api/v1/sensors/{sensor}/recordings?start={start}&lead_in={lead_in}");
        self.call("POST", &path, &self.operator, &[], Body::from(audio)).await
    }

    /// Posts audio that is accepted, and waits for what becomes of it.
    pub async fn recording(&self, sensor: &str, start: &str, lead_in: &str, audio: Vec<u8>) -> Value {
        let accepted = self.post(sensor, start, lead_in, audio).await.expect(202);
        self.settled(accepted["id"].as_str().unwrap()).await
    }

    /// Waits until a recording is stored or failed.
    pub async fn settled(&self, id: &str) -> Value {
        let path = format!("/api/v1/recordings/{id}?wait=30");
        // Until its row is there, a recording that was accepted may be unknown.
        let mut answer = self.get(&path).await;
        for _ in 0..30 {
            if answer.status != 404 {
                break;
            }
            answer = self.get(&path).await;
        }
        let view = answer.expect(200);
        assert_ne!(view["status"], "accepted", "it takes longer than 30 s: {view}");
        view
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a deleted song takes with it.
struct AnalysisOfSongs;

#[async_trait::async_trait]
impl SongData for AnalysisOfSongs {
    async fn forget(&self, tx: &mut WriteTransaction, song: SongId) -> Result<(), DbError> {
        store::delete_song(tx, &song.to_string()).await
    }
}

/// The routes of sensors, recordings and songs behind the check of keys.
pub fn router(database: &Database, queue: &Arc<dyn Queue>, blobs: &Arc<dyn Blobs>, clock: &Clock) -> Router {
    let reader = database.reader();
    let directory = Directory::new(reader.clone(), clock.clone());
    let keys = Keys::new(reader.clone(), clock.clone(), &Options::default());
    let accept = AcceptApi {
        acceptor: Acceptor {
            queue: Arc::clone(queue),
            blobs: Some(Arc::clone(blobs)),
            rows: Some(Rows::start(database.clone())),
            clock: clock.clone(),
        },
        directory: directory.clone(),
        reader: reader.clone(),
        uploads: Uploads::new(LIMIT),
    };
    let manage = sensors::ManageApi { database: database.clone(), directory, keys: keys.clone(), clock: clock.clone() };
    let songs = antiphon_catalog::Api {
        db: database.clone(),
        blobs: Arc::clone(blobs),
        clock: clock.clone(),
        song_limit: LIMIT as u64,
        plan: plan::of_song(1, &plan::song_default()).encode_to_vec().into(),
        data: Arc::new(AnalysisOfSongs),
        pool: Arc::new(Pool::new("tags", 1, Priority::Foreground)),
    };
    let (router, _) = OpenApiRouter::new()
        .merge(antiphon_catalog::write_routes(songs))
        .merge(antiphon_catalog::read_routes(reader.clone()))
        .merge(dead_letters::routes(dead_letters::Api { db: database.clone() }))
        .merge(recordings::accept_routes(accept))
        .merge(recordings::read_routes(recordings::ReadApi { reader: reader.clone() }))
        .merge(recordings::audio_routes(AudioApi { reader: reader.clone(), blobs: Arc::clone(blobs) }))
        .merge(query::router(query::Api::new(reader.clone(), clock.clone(), false)))
        .merge(sensors::read_routes(sensors::ReadApi { reader, clock: clock.clone() }))
        .merge(sensors::manage_routes(manage))
        .split_for_parts();
    router.layer(axum::middleware::from_fn_with_state(keys, antiphon_identity::authenticate))
}

/// Sixteen-bit noise with a tone, interleaved.
pub fn sound(rate: u32, channels: u16, frames: usize) -> Vec<i32> {
    let mut state = 0x2545_f491_u32;
    (0..frames * usize::from(channels))
        .map(|index| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let tone = (index as f64 * 2_000.0 / f64::from(rate)).sin() * 8_000.0;
            tone as i32 + (state >> 20) as i32 - 2_048
        })
        .collect()
}

/// A 16 bit WAV file of so many seconds.
pub fn wav_file(rate: u32, channels: u16, seconds: f64) -> Vec<u8> {
    let format = PcmFormat { rate, channels, bits: 16, float: false };
    wav(&format, Samples::Integers(&sound(rate, channels, (seconds * f64::from(rate)) as usize))).unwrap()
}

/// A 16 bit FLAC file of so many seconds.
pub fn flac_file(rate: u32, channels: u16, seconds: f64) -> Vec<u8> {
    let format = PcmFormat { rate, channels, bits: 16, float: false };
    flac(&format, Samples::Integers(&sound(rate, channels, (seconds * f64::from(rate)) as usize))).unwrap()
}

/// A time as requests and answers say it.
pub fn at(micros: Micros) -> String {
    time::format(micros)
}

/// Waits for a condition that some other task makes true.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("{what} did not happen"));
}
