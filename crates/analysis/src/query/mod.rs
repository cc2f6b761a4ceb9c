//! Reading by time range: features, annotations, gaps, live events, summaries, and the algorithms behind them.
//!
//! Everything is read through a [`Reader`] in one snapshot an answer, so role `query` can serve it without the right
//! to write. An answer is a pure function of the set of stored recordings; [`Answer`] makes it without HTTP.

mod algorithms;
mod annotations;
mod answer;
mod caching;
mod columns;
mod features;
mod format;
mod frames;
mod grid;
mod heard;
mod intervals;
mod live;
mod noise;
mod pieces;
mod plans;
mod request;
mod schemas;
pub(crate) mod seconds;
mod select;
pub mod staleness;
mod stream;
mod summaries;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use antiphon_catalog::SongId;
use antiphon_identity::Principal;
use antiphon_platform::clock::Clock;
use antiphon_platform::db::{ReadTransaction, Reader};
use antiphon_platform::http::Problem;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;

pub use algorithms::{AlgorithmInfo, OutputInfo, ParameterInfo, algorithm_info};
pub use annotations::Annotation;
pub use answer::{Answer, Row};
pub use columns::Column;
pub use plans::{PlanInfo, plan_info};
pub use request::Request;
pub use stream::answer;
pub use summaries::says_words;

use crate::sensors;
use crate::store::{SourceKind, StoreError};

/// Long answers that are streamed at the same time: each holds a connection of the reader as long as its client
/// takes it, and short answers must find one too.
const STREAMS: usize = 4;

/// What the routes of this module use.
#[derive(Clone)]
pub struct Api {
    reader: Reader,
    clock: Clock,
    is_public: bool,
    streams: Arc<Semaphore>,
}

impl Api {
    /// Reads through `reader`; `is_public` says whether reads need no key (`auth.public_reads`).
    #[must_use]
    pub fn new(reader: Reader, clock: Clock, is_public: bool) -> Self {
        Self { reader, clock, is_public, streams: Arc::new(Semaphore::new(STREAMS)) }
    }
}

/// The routes of this module, to be put behind [`antiphon_identity::authenticate`].
pub fn router(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .merge(features::routes())
        .merge(intervals::routes())
        .merge(live::routes())
        .merge(algorithms::routes())
        .merge(plans::routes())
        .merge(summaries::routes())
        .with_state(api)
}

/// The snapshot of a source that `principal` may read and that exists.
///
/// # Errors
/// 403, 404 with the nearest name, 503.
async fn open(api: &Api, principal: &Principal, kind: SourceKind, name: &str) -> Result<ReadTransaction, Problem> {
    principal.may_read()?;
    let mut tx = api.reader.read().await?;
    let exists = match kind {
        SourceKind::Sensor => sensors::is_readable(&mut tx, name).await?,
        SourceKind::Song => match name.parse::<SongId>() {
            Ok(id) => antiphon_catalog::song_exists(&mut tx, id).await?,
            Err(_) => false,
        },
    };
    if exists {
        return Ok(tx);
    }
    drop(tx);
    Err(match kind {
        SourceKind::Sensor => sensors::unknown(&api.reader, name).await,
        SourceKind::Song => Problem::not_found("there is no such song").hint(Some("GET /api/v1/songs lists them")),
    })
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            other => {
                tracing::error!(error = %other, "request failed: store");
                Self::internal()
            }
        }
    }
}
