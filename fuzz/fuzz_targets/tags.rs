//! Any bytes as a file with tags: what is found keeps its bounds.
#![no_main]

#[path = "../../crates/audio/tests/support/exercise_tags.rs"]
mod exercise_tags;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise_tags::tags(bytes));
