//! Analyses an audio file as a song by one algorithm, and prints its frames as CSV: seconds, and a column for each dimension of
//! each output; empty where there is no value.
//!
//! `cargo run --release -p antiphon-features --example frames -- pitch FILE [PARAMETER=NUMBER...]`

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{FRAMES, decode_frames, frame_columns};
use antiphon_features::descriptor::Descriptor;
use antiphon_features::find;
use antiphon_features::session::{Block, Item, Session};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (algorithm, path) = arguments.next().zip(arguments.next()).ok_or("name an algorithm and a file")?;
    let descriptor = find(&algorithm).ok_or("there is no such algorithm")?;
    let mut item = Item { algorithm, frames: true, ..Item::default() };
    item.outputs = descriptor.series().map(|(output, _)| output.name.to_owned()).collect();
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or("a parameter is written NAME=NUMBER")?;
        item.parameters.insert(name.to_owned(), value.parse::<f64>()?.into());
    }

    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "seconds,{}", columns(descriptor).join(","))?;
    let mut decoder = Decoder::open(BufReader::new(File::open(path)?), Limits::default())?;
    let (rate, channels) = (decoder.info().rate, decoder.info().channels);
    let stream = Stream::of_song(rate, channels);
    let mut session = Session::new(&[item], &stream)?;
    while let Some(block) = decoder.next_block()? {
        session.push(block.channels());
        print(&session.take_blocks(), descriptor, &mut out)?;
    }
    print(&session.finish().blocks, descriptor, &mut out)?;
    Ok(out.flush()?)
}

/// Names of the columns: the output's, with a number for each dimension of a vector.
fn columns(descriptor: &'static Descriptor) -> Vec<String> {
    let mut names = Vec::new();
    for output in descriptor.outputs {
        let dimensions = frame_columns(descriptor, output.name).len();
        let name = if output.name.is_empty() { descriptor.name } else { output.name };
        names.extend((0..dimensions).map(|n| if dimensions == 1 { name.to_owned() } else { format!("{name}.{n}") }));
    }
    names
}

fn print(blocks: &[Block], descriptor: &'static Descriptor, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    for block in blocks.iter().filter(|block| block.layer == FRAMES) {
        for frame in decode_frames(descriptor, block.minute, &block.data)? {
            write!(out, "{}", frame.start as f64 / 1e6)?;
            for value in frame.values {
                if value.is_nan() { write!(out, ",")? } else { write!(out, ",{value}")? }
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
