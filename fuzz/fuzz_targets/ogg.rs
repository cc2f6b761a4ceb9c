//! Pages of Ogg, whose checksums are made right, so that every input reaches the packets in them.
#![no_main]

#[path = "../../crates/audio/tests/support/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::ogg(bytes));
