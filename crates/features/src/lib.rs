//! The Antiphon algorithm registry: audio in, features out.
//!
//! One algorithm is one module: its [`descriptor::Descriptor`], its code, its tests. [`registry()`] is the one
//! static table from which the command line, the API schema, the documentation and validation come.
//! [`session`] runs algorithms over one stream; [`cells`] holds what is stored of their results, and the only
//! code that merges it.

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
