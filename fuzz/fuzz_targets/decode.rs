//! Any bytes, as a client may send them.
#![no_main]

#[path = "../../crates/audio/tests/support/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::decode(bytes));
