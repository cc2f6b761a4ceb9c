//! The HTTP kit: problems, parameters, bodies, paging, limits, health, and the server itself.
//!
//! A handler extracts, makes one call and converts. What it refuses, it refuses as a [`Problem`]; what it
//! reads from the query string, it reads through [`Params`]; what it reads from a body, through [`Json`] or
//! [`UploadBody`]. Everything that holds for all routes (panics, unknown routes, metrics, CORS) is put around a
//! router once, by [`finish`].

pub mod body;
pub mod conditional;
pub mod health;
pub mod layers;
pub mod limits;
pub mod names;
pub mod paging;
pub mod parameters;
pub mod problem;
pub mod ranges;
pub mod reference;
pub mod server;
pub mod time;

pub use body::{Json, UploadBody, parse_json, read_body, read_json};
pub use layers::{Finish, finish, finish_pages};
pub use limits::Limiter;
pub use names::nearest;
pub use paging::{Page, decode_cursor, encode_cursor};
pub use parameters::Params;
pub use problem::Problem;
pub use server::{ClientAddress, Stopping, serve};
