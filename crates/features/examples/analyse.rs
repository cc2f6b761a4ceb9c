//! Analyses audio files as songs, and prints one line of JSON for each: its summaries and annotations.
//!
//! `cargo run --release -p antiphon-features --example analyse -- onset,rhythm FILE...`

use std::error::Error;
use std::fs::File;
use std::io::BufReader;

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_features::algorithm::Stream;
use antiphon_features::session::{Analysis, Item, Session, SummaryValue};
use antiphon_features::sets::items;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let list = arguments.next().ok_or("name sets, algorithms or outputs, divided by commas, and then files")?;
    let items = items(&list)?;
    for path in arguments {
        let analysis = analyse(&path, &items).map_err(|error| format!("{path}: {error}"))?;
        println!("{}", line(&path, &analysis));
    }
    Ok(())
}

/// One pass over a file: what is decoded goes to the session block by block.
fn analyse(path: &str, items: &[Item]) -> Result<Analysis, Box<dyn Error>> {
    let mut decoder = Decoder::open(BufReader::new(File::open(path)?), Limits::default())?;
    let info = *decoder.info();
    let stream = Stream::of_song(info.rate, info.channels);
    let mut session = Session::new(items, &stream)?;
    while let Some(block) = decoder.next_block()? {
        session.push(block.channels());
        // The series are not printed; taking their blocks keeps the memory constant.
        drop(session.take_blocks());
    }
    Ok(session.finish())
}

fn line(path: &str, analysis: &Analysis) -> Value {
    let summaries = analysis.summaries.iter().map(|summary| {
        let value = match &summary.value {
            SummaryValue::Number(number) => json!(number),
            SummaryValue::Text(text) => json!(text),
            SummaryValue::Missing(reason) => json!({ "missing": reason }),
        };
        (format!("{}.{}", summary.algorithm, summary.output), value)
    });
    let annotations = analysis.annotations.iter().map(|found| {
        let seconds = |micros: i64| micros as f64 / 1e6;
        json!({
            "type": format!("{}.{}", found.algorithm, found.kind),
            "label": found.label,
            "from": seconds(found.from),
            "to": seconds(found.to),
            "value": found.value,
            "confidence": found.confidence,
        })
    });
    json!({
        "file": path,
        "summaries": summaries.collect::<serde_json::Map<_, _>>(),
        "annotations": annotations.collect::<Vec<_>>(),
    })
}
