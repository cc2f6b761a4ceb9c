//! API keys and who may do what.

/// Who makes a request, and what that allows.
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
