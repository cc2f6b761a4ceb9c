//! The bytes are the elements of a Matroska segment.
#![no_main]

#[path = "../../crates/audio/tests/support/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::matroska(bytes));
