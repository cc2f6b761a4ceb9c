//! The bytes are the boxes that follow the first one of an MP4 file.
#![no_main]

#[path = "../../crates/audio/tests/support/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::mp4(bytes));
