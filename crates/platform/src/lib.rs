//! Ports and engines of Antiphon: database, queue, blobs, jobs, HTTP kit, configuration, telemetry.

pub mod address;
#[cfg(feature = "aws")]
mod aws;
pub mod blobs;
pub mod clock;
pub mod config;
pub mod cpu;
pub mod crash;
pub mod db;
pub mod disk;
#[cfg(feature = "fault")]
pub mod fault;
pub mod http;
pub mod jobs;
pub mod outbound;
pub mod outbox;
pub mod queue;
pub mod secrets;
pub mod telemetry;
