//! Songs: upload, list, search, play.
//!
//! A song is a file, named by its bytes. This crate keeps the file and what is known of it, and tells the others by
//! topic `songs`; features belong to the analysis, which says how it went through [`mark_stored`] and
//! [`mark_failed`].

mod again;
mod blob_file;
mod covers;
mod file_name;
mod id;
pub mod messages;
mod routes;
mod songs;
mod sweep;
mod tags;
mod upload;

pub use again::analyze_again;
pub use id::{NoSongId, SongId};
pub use routes::{Api, SongData, SongInfo, read_routes, write_routes};
pub use songs::{
    MIGRATIONS, STATEMENTS, Song, Status, find_song, mark_accepted, mark_failed, mark_stored, song_exists,
};
pub use sweep::{SweepError, sweep};
pub use upload::SONGS;
