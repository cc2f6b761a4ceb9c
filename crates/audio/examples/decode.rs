//! Decodes an audio file of any format to standard output: 32 bit floating point, little endian, channels interleaved. What the file
//! is goes to standard error.
//!
//! `cargo run --release -p antiphon-audio --example decode -- song.m4a > song.f32`

use std::error::Error;
use std::fs::File;
use std::io::Write;

use antiphon_audio::decode::{Decoder, Limits};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name a file")?;
    let mut decoder = Decoder::open_seekable(File::open(path)?, Limits::default())?;
    let info = *decoder.info();
    eprintln!("{}, {} Hz, {} channels", info.format.name(), info.rate, info.channels);
    let mut out = std::io::stdout().lock();
    let mut bytes = Vec::new();
    while let Some(block) = decoder.next_block()? {
        bytes.clear();
        for frame in 0..block.frames() {
            for channel in block.channels() {
                bytes.extend_from_slice(&channel[frame].to_le_bytes());
            }
        }
        out.write_all(&bytes)?;
    }
    Ok(())
}
