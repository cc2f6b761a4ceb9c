//! Sensors, recordings, algorithm workers, the writer, and features by time range.

pub mod admit;
pub mod alerts;
pub mod descriptors;
pub mod ids;
pub mod messages;
pub mod pieces;
pub mod plan;
pub mod query;
pub mod receive;
pub mod recordings;
pub mod sensors;
pub mod store;
pub mod topics;
pub mod workers;
