//! Songs: upload, list, search, play.

pub mod messages;
