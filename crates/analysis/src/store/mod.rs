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
mod error;
mod recordings;
mod resolution;
mod schema;
mod sources;
mod spans;

pub use annotations::{
    CountingInterval, StoredAnnotation, StoredSummary, SummaryValue, annotations, counting_intervals, summaries,
};
pub use cells::{Cells, read_cells};
pub use changes::{Change, can_resume, changes_since, smallest_lag};
pub use error::StoreError;
pub use recordings::{Accepted, Recording, Status, accept, recording, recordings_overlapping};
pub use resolution::Resolution;
pub use schema::MIGRATIONS;
pub use sources::{LayerKind, LayerRow, Revision, Source, SourceKind, layers_of, source};
pub use spans::{JITTER, Span, join, last_span, spans};
