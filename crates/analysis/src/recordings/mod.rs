//! Recordings: how audio is accepted, cut, listed and played.

pub mod accept;
mod cut;
pub mod media;
pub(crate) mod offered;
mod representation;
pub mod routes;
mod rows;
mod upload;

use antiphon_platform::db::Statement;

pub use accept::{AcceptError, Accepted, Acceptor, Offer};
pub use rows::Rows;
pub use upload::Uploads;

use crate::ids::RecordingId;

/// Every statement of this module, for the test that prepares them on each engine.
pub const STATEMENTS: &[Statement] = &[rows::KNOWN];

/// The type of the annotations that say what was playing, and the name under which they are kept: no algorithm finds it,
/// the source says it.
pub const TITLE: &str = "title";

/// The blob that holds a recording's audio file: until it is cut, or as long as retention keeps it.
#[must_use]
pub fn audio_key(id: RecordingId) -> String {
    let id = id.to_string();
    // Two letters of a hash in front keep folders small.
    format!("recordings/{}/{id}", &id[1..3])
}
