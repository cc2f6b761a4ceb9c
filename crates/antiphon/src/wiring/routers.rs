//! Which capability's routes a role serves, and with which handles.

use std::sync::Arc;

use antiphon_analysis::alerts;
use antiphon_analysis::query;
use antiphon_analysis::recordings::routes::{self as recordings, AcceptApi, AudioApi};
use antiphon_analysis::recordings::{Acceptor, Rows, Uploads};
use antiphon_analysis::sensors::{self, Directory};
use antiphon_analysis::store::{self, dead_letters};
use antiphon_catalog::{SongData, SongId};
use antiphon_identity::authenticate;
use antiphon_platform::cpu::{Pool, Priority};
use antiphon_platform::db::{DbError, WriteTransaction};
use anyhow::{Context, Result};
use async_trait::async_trait;
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use http::StatusCode;
use prost::Message;
use utoipa_axum::router::OpenApiRouter;

use super::Wiring;

/// Threads that read the tags of songs: they wait for blobs more than they compute, and each may hold a picture.
const TAG_THREADS: usize = 2;

/// Every route of every capability.
pub fn api(wiring: &Wiring) -> Result<OpenApiRouter> {
    let connections = &wiring.connections;
    let (database, reader) = (connections.database("api")?, connections.reader("api")?);
    let (queue, blobs) = (connections.queue("api")?, connections.blobs("api")?);
    let (keys, clock) = (wiring.keys()?.clone(), wiring.clock.clone());
    let directory = Directory::new(reader.clone(), clock.clone());
    let rows = Some(Rows::start(database.clone()));
    let accept = AcceptApi {
        acceptor: Acceptor { queue, blobs: Some(Arc::clone(&blobs)), rows, clock: clock.clone() },
        directory: directory.clone(),
        reader: reader.clone(),
        uploads: Uploads::new(wiring.limits.recording),
    };
    let manage =
        sensors::routes::ManageApi { database: database.clone(), directory, keys: keys.clone(), clock: clock.clone() };
    let songs = antiphon_catalog::Api {
        db: database.clone(),
        blobs: Arc::clone(&blobs),
        clock: clock.clone(),
        song_limit: wiring.limits.song,
        pool: Arc::new(Pool::new("tags", TAG_THREADS, Priority::Foreground)),
        plan: wiring.song_plan.as_ref().context("a role that takes songs has no plan for them")?.encode_to_vec().into(),
        data: Arc::new(AnalysisOfSongs),
    };
    let router = reads(wiring)?
        .merge(recordings::accept_routes(accept))
        .merge(recordings::audio_routes(AudioApi { reader, blobs: Arc::clone(&blobs) }))
        .merge(sensors::routes::manage_routes(manage))
        .merge(antiphon_catalog::write_routes(songs))
        .merge(alerts::routes(alerts::Api {
            database: database.clone(),
            allow: wiring.notify.allow.clone(),
            clock: clock.clone(),
        }))
        .merge(dead_letters::routes(dead_letters::Api { db: database.clone() }))
        .merge(antiphon_identity::routes(antiphon_identity::Api {
            db: database.clone(),
            keys: keys.clone(),
            clock: clock.clone(),
        }));
    behind_keys(router, wiring)
}

/// The GETs that need the database only, for reading.
pub fn query_only(wiring: &Wiring) -> Result<OpenApiRouter> {
    behind_keys(reads(wiring)?, wiring)
}

fn reads(wiring: &Wiring) -> Result<OpenApiRouter> {
    let reader = wiring.connections.reader("query")?;
    let clock = wiring.clock.clone();
    let router = OpenApiRouter::default()
        .merge(sensors::routes::read_routes(sensors::routes::ReadApi { reader: reader.clone(), clock: clock.clone() }))
        .merge(recordings::read_routes(recordings::ReadApi { reader: reader.clone() }))
        .merge(antiphon_catalog::read_routes(reader.clone()))
        .merge(query::router(query::Api::new(reader.clone(), clock, wiring.public_reads)));
    Ok(query::staleness::tell(router, reader))
}

/// What the analysis keeps about songs, and the catalogue does not know of.
struct AnalysisOfSongs;

#[async_trait]
impl SongData for AnalysisOfSongs {
    async fn forget(&self, tx: &mut WriteTransaction, song: SongId) -> Result<(), DbError> {
        store::delete_song(tx, &song.to_string()).await
    }
}

/// What is no route gets 401 before 404, as routes do.
fn behind_keys(router: OpenApiRouter, wiring: &Wiring) -> Result<OpenApiRouter> {
    let router = router.route("/api/v1/{*unknown}", any(|| async { StatusCode::NOT_FOUND }));
    Ok(router.route_layer(from_fn_with_state(wiring.keys()?.clone(), authenticate)))
}
