//! Frames of MP3 or AAC without a container; what is before the first frame is passed over.
#![no_main]

#[path = "../../crates/audio/tests/support/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::mpeg(bytes));
