//! The bytes are all that follows `RIFF....WAVE`, so that every input reaches the chunks.
#![no_main]

#[path = "../../crates/audio/tests/support/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::wav(bytes));
