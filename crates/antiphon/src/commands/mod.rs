//! The commands that are clients: of a server, of local files, of the registry.
//!
//! Each module has `Arguments` (what can be said) and `run(Arguments, &Globals) -> Result<ExitCode>`.

pub mod algorithms;
pub mod analyze;
pub mod dead_letters;
pub mod features;
pub mod ingest;
pub mod key;
pub mod migrate;
pub mod output;
pub mod plans;
pub mod prepare;
pub mod sensor;
pub mod server;
pub mod songs;
