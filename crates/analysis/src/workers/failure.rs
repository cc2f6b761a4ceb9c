//! Why a message could not be handled, and whether trying again helps.

use antiphon_audio::AudioError;
use antiphon_features::FeatureError;
use antiphon_platform::blobs::BlobError;
use antiphon_platform::queue::QueueError;

use crate::plan::PlanError;

/// Ends the reason of a failure whose result was published all the same. That result then tells the recording that it
/// failed, with what decoded; the dead letter, which may be stored before it, must not.
pub(crate) const KEPT: &str = "; what decoded before that is kept";

/// Why a message could not be handled; the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The same message would fail the same way again.
    Permanent(String),
    /// Something of ours was not usable; later it may be.
    Temporary(String),
}

impl From<AudioError> for Failure {
    fn from(error: AudioError) -> Self {
        match &error {
            AudioError::Io(cause) => Self::Temporary(format!("{error}: {cause}")),
            _ => Self::Permanent(error.to_string()),
        }
    }
}

impl From<FeatureError> for Failure {
    fn from(error: FeatureError) -> Self {
        Self::Permanent(error.to_string())
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::Permanent(error.to_string())
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::TooLarge { .. } => Self::Permanent(error.to_string()),
            _ => Self::Temporary(error.to_string()),
        }
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Unavailable(_) | BlobError::Source(_) | BlobError::NotPermitted => {
                Self::Temporary(error.to_string())
            }
            BlobError::NotFound(_) | BlobError::Key(_) | BlobError::Damaged(_) => Self::Permanent(error.to_string()),
        }
    }
}
