//! Does one thing with one file, and prints how many seconds of audio it had: for whoever times it beside other programs, as
//! `evaluation/speed.py` does.
//!
//! `cargo run --release -p antiphon-features --example speed -- ROW FILE`, where ROW is `base`, `decoding`, `all`, another name that
//! the bench `throughput` prints, or a list of sets, algorithms and outputs: `default,pitch.yin`

use std::error::Error;

#[path = "../benches/rows/mod.rs"]
mod rows;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("name a row, and then a file")?;
    let path = arguments.next().ok_or("name a file behind the row")?;
    let row = rows::row(&name).ok_or_else(|| format!("there is no row {name:?}"))?;
    let file = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    println!("{}", row.work.run(&file.into()));
    Ok(())
}
