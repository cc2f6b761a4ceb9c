//! Writes what a place or a piece sounds like as a WAV file, to listen to or to look at:
//!
//! ```sh
//! cargo run --release -p antiphon-demo --example listen -- garden 1777420800 60 > dawn.wav
//! cargo run --release -p antiphon-demo --example listen -- song 1 > song.wav
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::io::Write;

use antiphon_demo::music::{MUSIC_RATE, PIECES};
use antiphon_demo::{Place, RATE, Synthesiser};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (samples, rate, channels) = match words[..] {
        ["song", number] => {
            let number: usize = number.parse()?;
            let piece = PIECES.iter().find(|piece| piece.track as usize == number).ok_or("there is no such song")?;
            let mut samples = Vec::with_capacity(2 * piece.frames());
            piece.play(|block| -> Result<(), Infallible> {
                samples.extend_from_slice(block);
                Ok(())
            })?;
            (samples, MUSIC_RATE, 2_u16)
        }
        [place, start, seconds] => {
            let place = match place {
                "street" => Place::Street,
                "garden" => Place::Garden,
                _ => return Err("a place is street or garden".into()),
            };
            let mut samples = Vec::new();
            Synthesiser::new().render(place, start.parse()?, seconds.parse()?, &mut samples);
            (samples, RATE, 1)
        }
        _ => return Err("say: street|garden START SECONDS, or song NUMBER".into()),
    };
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| (*sample as i16).to_le_bytes()).collect();
    let length = u32::try_from(bytes.len())?;
    let mut file = Vec::with_capacity(44);
    file.extend(b"RIFF");
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * 2 * u32::from(channels)).to_le_bytes());
    file.extend((2 * channels).to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(length.to_le_bytes());
    let mut output = std::io::stdout().lock();
    output.write_all(&file)?;
    output.write_all(&bytes)?;
    Ok(())
}
