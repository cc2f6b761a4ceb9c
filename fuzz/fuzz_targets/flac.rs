//! The bytes choose a FLAC frame's shape and are its body; the checksums are right, so that every input reaches the
//! decoder of frames.
#![no_main]

#[path = "../../crates/audio/tests/support/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::flac(bytes));
