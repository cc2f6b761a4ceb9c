//! The Antiphon algorithm registry: audio in, features out.
//!
//! One algorithm is one module: its [`descriptor::Descriptor`], its code, its tests. [`registry()`] is the one
//! static table from which the command line, the API schema, the documentation and validation come.
//! [`session`] runs algorithms over one stream; [`cells`] holds what is stored of their results, and the only
//! code that merges it; [`sets`] reads plans out of names.
//!
//! ```
//! use antiphon_features::algorithm::Stream;
//! use antiphon_features::cells::{layer, seconds, value};
//! use antiphon_features::find;
//! use antiphon_features::session::Session;
//! use antiphon_features::sets::items;
//!
//! // Ten seconds of 1 kHz at half of full scale.
//! let samples: Vec<f32> = (0..80_000).map(|n| 0.5 * (n as f32 * std::f32::consts::FRAC_PI_4).sin()).collect();
//! let mut session = Session::new(&items("level.z")?, &Stream::of_song(8_000, 1))?;
//! session.push(&[&samples]);
//! let blocks = session.finish().blocks;
//!
//! // What is stored: a block for each layer and minute, out of which come cells, one a second.
//! let level = find("level").and_then(|level| level.output("z")).ok_or("no such output")?;
//! let cells = seconds(layer("level", "main").ok_or("no such layer")?, &blocks)?;
//! assert_eq!(cells.len(), 10);
//! for cell in cells.values() {
//!     let decibels = value(cell, level, "leq", 0).ok_or("nothing was heard")?;
//!     assert!((decibels + 9.03).abs() < 0.01, "half of full scale is -6.02 dB, and a sine's mean square -3.01");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The README beside the manifest goes on from there: from a file, with frames and with values of the whole song.

pub mod algorithm;
mod beat_track;
pub mod cells;
mod chroma;
mod chroma_cqt;
pub mod descriptor;
mod filter;
mod fingerprint;
mod hpss;
mod indices;
mod key;
mod lanes;
mod level;
mod loudness;
mod median;
mod mel;
mod mfcc;
mod mfcc_top_db;
mod onset;
mod onset_detect;
mod pitch;
mod registry;
mod rhythm;
pub mod session;
pub mod sets;
mod silence;
mod sizes;
mod spectral;
mod tempogram;
#[cfg(test)]
mod testing;
mod waveform;

pub use registry::{
    Construct, FeatureError, Request, find, layers, nearest, nearest_name, registry, validate, validate_with,
};

/// The README's example compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
