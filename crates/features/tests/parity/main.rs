//! Parity: every algorithm that follows a reference implementation, against what that made of the same signals.
//!
//! `golden/NAME.f32` is what `make.py` wrote by the script `make_NAME.py` beside this file; `signals.py` and `signals.rs` make the
//! same signals. One module for each algorithm, and one that runs the scripts again.

#![expect(clippy::unwrap_used, reason = "a test helper that panics says what failed")]

mod beat_track;
mod chroma;
mod chroma_cqt;
mod events;
mod golden;
mod hpss;
mod indices;
mod mel;
mod mfcc;
mod mfcc_top_db;
mod onset;
mod onset_detect;
mod pitch;
mod scripts;
mod signals;
mod spectral;
mod tempogram;
mod voices;
mod waveform;
