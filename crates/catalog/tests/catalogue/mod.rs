//! A catalogue behind its router, for the tests of this crate.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use antiphon_catalog::{Api, MIGRATIONS, SongData, SongId};
use antiphon_identity::Principal;
use antiphon_platform::blobs::Blobs;
use antiphon_platform::blobs::folder::{Access, FolderBlobs};
use antiphon_platform::clock::{Clock, SECOND};
use antiphon_platform::cpu::{Pool, Priority};
use antiphon_platform::db::{Database, DbError, Engine, Statement, WriteTransaction};
use antiphon_platform::disk;
use antiphon_servers::Postgres;
use async_trait::async_trait;
use axum::body::Body;
use axum::response::Response;
use axum::{Extension, Router};
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

/// Remembers which songs it was told to forget.
#[derive(Default)]
pub struct Forgotten(pub Mutex<Vec<SongId>>);

#[async_trait]
impl SongData for Forgotten {
    async fn forget(&self, _: &mut WriteTransaction, song: SongId) -> Result<(), DbError> {
        self.0.lock().unwrap().push(song);
        Ok(())
    }
}

pub struct Catalogue {
    pub folder: tempfile::TempDir,
    pub db: Database,
    pub blobs: Arc<dyn Blobs>,
    pub clock: Clock,
    pub forgotten: Arc<Forgotten>,
    pub router: Router,
    /// Last, so that connections are closed before it goes.
    pub server: Option<antiphon_servers::Database<'static>>,
}

impl Catalogue {
    pub async fn open() -> Self {
        Self::open_on(Engine::Sqlite).await
    }

    pub async fn open_on(engine: Engine) -> Self {
        Self::open_at((engine == Engine::Postgres).then(|| Postgres::shared().database())).await
    }

    /// On a database of a server, or on a file.
    pub async fn open_at(server: Option<antiphon_servers::Database<'static>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = || format!("sqlite:{}", folder.path().join("antiphon.db").display());
        let url = server.as_ref().map_or_else(file, antiphon_servers::Database::url);
        let db = Database::open(url, MIGRATIONS).await.unwrap();
        let blobs: Arc<dyn Blobs> =
            Arc::new(FolderBlobs::open(disk::local(), &folder.path().join("blobs"), Access::Write).unwrap());
        let clock = Clock::manual(1_777_593_600 * SECOND);
        let forgotten = Arc::new(Forgotten::default());
        let api = Api {
            db: db.clone(),
            blobs: Arc::clone(&blobs),
            clock: clock.clone(),
            song_limit: 10_000,
            pool: Arc::new(Pool::new("tags", 1, Priority::Foreground)),
            plan: Bytes::from_static(b"plan"),
            data: Arc::clone(&forgotten) as Arc<dyn SongData>,
        };
        let router =
            Router::from(antiphon_catalog::read_routes(db.reader()).merge(antiphon_catalog::write_routes(api)));
        Self { folder, db, blobs, clock, forgotten, router, server }
    }

    pub async fn ask(&self, principal: Principal, request: http::request::Builder, body: Body) -> Response {
        self.router.clone().layer(Extension(principal)).oneshot(request.body(body).unwrap()).await.unwrap()
    }

    pub async fn upload(&self, name: &str, bytes: Vec<u8>) -> (u16, Value) {
        let request =
            Request::post("/api/v1/songs").header("content-disposition", format!("attachment; filename=\"{name}\""));
        answer(self.ask(Principal::Operator, request, Body::from(bytes)).await).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.ask(Principal::Reader, Request::get(path), Body::empty()).await).await
    }

    /// Messages that wait in the outbox.
    pub async fn messages(&self) -> Vec<(String, Vec<u8>)> {
        const ALL: Statement = Statement { name: "all", text: "SELECT message_id, body FROM outbox ORDER BY number" };
        let rows = self.db.read().await.unwrap().rows(&ALL, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0).unwrap(), row.get(1).unwrap())).collect()
    }

    /// Files below the folder of blobs that hold somebody's bytes.
    pub fn objects(&self) -> usize {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { usize::from(is_object(&path)) }).sum()
        }
        fn is_object(path: &Path) -> bool {
            !path.to_str().unwrap().contains("unfinished~")
        }
        count(&self.folder.path().join("blobs"))
    }
}

pub async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), 1_000_000).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// A second of a 16 bit mono WAV file at 1 kHz, different for each seed.
pub fn wav(seed: u8) -> Vec<u8> {
    let data: Vec<u8> = (0..2_000_u32).map(|index| (index as u8).wrapping_mul(seed)).collect();
    let mut file = b"RIFF".to_vec();
    file.extend(2_036_u32.to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(1_000_u32.to_le_bytes());
    file.extend(2_000_u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(2_000_u32.to_le_bytes());
    file.extend(data);
    file
}

pub fn id_of(bytes: &[u8]) -> SongId {
    SongId::derive(&Sha256::digest(bytes).into())
}
