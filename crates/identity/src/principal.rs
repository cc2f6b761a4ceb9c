//! Who makes a request, and what that allows.

use antiphon_platform::http::Problem;
use axum::extract::FromRequestParts;
use http::request::Parts;

/// Who makes a request, and what that allows.
///
/// As an extractor it is what [`authenticate`](crate::authenticate) found; on a route without that layer it
/// answers 401, so a route that somebody forgot to protect is closed, not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Everything.
    Operator,
    /// Every GET but dead letters and keys.
    Reader,
    /// May add recordings to this sensor, read its status and its own recordings.
    Sensor(String),
    /// No key, where public reads are allowed: as `Reader`.
    Public,
}

impl Principal {
    /// Whether it may manage: sensors, keys, songs, dead letters.
    ///
    /// # Errors
    /// 403, or 401 without a key.
    pub fn may_operate(&self) -> Result<(), Problem> {
        match self {
            Self::Operator => Ok(()),
            Self::Public => Err(key_needed()),
            Self::Reader | Self::Sensor(_) => Err(Problem::forbidden("this needs an operator's key")),
        }
    }

    /// Whether it may read everything but dead letters and keys.
    ///
    /// # Errors
    /// 403 for a sensor's key.
    pub fn may_read(&self) -> Result<(), Problem> {
        match self {
            Self::Operator | Self::Reader | Self::Public => Ok(()),
            Self::Sensor(_) => {
                Err(Problem::forbidden("a sensor's key may only add recordings to its sensor and read them"))
            }
        }
    }

    /// Whether it may add recordings to `sensor`. Ask this before looking the sensor up: the answer to a
    /// sensor's key is the same whether another sensor exists or not.
    ///
    /// # Errors
    /// 403, or 401 without a key.
    pub fn may_add_to(&self, sensor: &str) -> Result<(), Problem> {
        match self {
            Self::Operator => Ok(()),
            Self::Sensor(own) if own == sensor => Ok(()),
            Self::Public => Err(key_needed()),
            Self::Reader => Err(Problem::forbidden("a reader's key may not add recordings")),
            Self::Sensor(_) => Err(Problem::forbidden("this key belongs to another sensor")),
        }
    }

    /// Whether it may read the status and the recordings of `sensor`. Ask this before looking the sensor up.
    ///
    /// # Errors
    /// 403 for another sensor's key.
    pub fn may_read_sensor(&self, sensor: &str) -> Result<(), Problem> {
        match self {
            Self::Operator | Self::Reader | Self::Public => Ok(()),
            Self::Sensor(own) if own == sensor => Ok(()),
            Self::Sensor(_) => Err(Problem::forbidden("this key belongs to another sensor")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(key_needed)
    }
}

/// 401: no key.
pub(crate) fn key_needed() -> Problem {
    Problem::unauthorized("this needs a key")
        .hint(Some("send `Authorization: Bearer KEY`; `antiphon key create` makes one"))
}
