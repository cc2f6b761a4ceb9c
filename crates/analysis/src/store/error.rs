//! What can go wrong in the store.

use antiphon_features::cells::CellError;
use antiphon_platform::db::DbError;

/// What can go wrong when reading or writing results.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Stored bytes that are not what their layer says.
    #[error("the {what} at {time} us of source {source_id} are damaged: {error}")]
    Damaged {
        /// Which kind of row.
        what: &'static str,
        /// The source's number.
        source_id: i64,
        /// When, in µs.
        time: i64,
        /// What is wrong with the bytes.
        error: CellError,
    },
    /// A layer that this build's registry does not have.
    #[error("this build knows no layer {layer} of {algorithm}; run one that does")]
    UnknownLayer {
        /// The algorithm.
        algorithm: String,
        /// The layer.
        layer: String,
    },
    /// A result of a foreign group whose descriptor is not stored, or not yet.
    #[error("{0}")]
    NotKnownYet(String),
    /// A message that can never be stored.
    #[error("{0}")]
    Refused(String),
}
