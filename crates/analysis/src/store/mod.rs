//! Everything that touches the tables of results: the writer, cells, spans, retention, dead letters, and snapshot
//! reads for the query and the sensors.
//!
//! Every answer made from here is a pure function of the *set* of stored results, whatever the order in which
//! they came and however often (`docs/decisions/partials-and-cells.md`). So nothing is ever added into
//! a coarser value: what depends on a changed second is marked stale in the transaction that changes it, and made
//! again of all its children.

mod annotations;
mod cells;
mod changes;
pub mod dead_letters;
mod error;
mod frames;
mod lists;
mod partitions;
pub mod reanalysis;
pub mod recordings;
mod resolution;
pub mod retention;
pub mod rollup;
mod schema;
mod song_plans;
pub mod sources;
pub mod spans;
mod summaries;
pub mod writer;

pub use annotations::{CountingInterval, StoredAnnotation, annotations, counting_intervals};
pub use cells::{Cells, is_present, read_cells};
pub use changes::{Change, can_resume, changes_since};
pub use error::StoreError;
pub use frames::read_frames;
pub use partitions::Partitions;
pub use recordings::{Accepted, Recording, Status, accept, recording, recordings_overlapping};
pub use resolution::Resolution;
pub use retention::{Retention, delete_sensor, delete_song, frozen_days};
pub use schema::MIGRATIONS;
pub use song_plans::plan_of_songs;
pub use sources::{LayerKind, LayerRow, Revision, Source, SourceKind, layers_of, source};
pub use spans::{JITTER, Span, join, last_span, spans};
pub use summaries::{
    SongSummaries, SongsWanted, StoredSummary, SummaryName, SummaryValue, newest, songs_with_summaries, summaries,
};

use antiphon_platform::db::Statement;

/// Every statement of this module that both engines run, for the test that prepares them on each.
#[must_use]
pub fn statements() -> Vec<Statement> {
    let mut all = [
        annotations::STATEMENTS,
        cells::STATEMENTS,
        changes::STATEMENTS,
        dead_letters::STATEMENTS,
        frames::STATEMENTS,
        reanalysis::STATEMENTS,
        recordings::STATEMENTS,
        rollup::STATEMENTS,
        song_plans::STATEMENTS,
        sources::STATEMENTS,
        spans::STATEMENTS,
        summaries::STATEMENTS,
    ]
    .concat();
    all.extend(crate::descriptors::statements());
    all.extend(writer::statements());
    all.extend(retention::statements());
    all
}

/// Those that PostgreSQL needs and SQLite does not know.
#[must_use]
pub fn postgres_statements() -> Vec<Statement> {
    partitions::STATEMENTS.to_vec()
}

#[cfg(test)]
pub(crate) mod tests;
