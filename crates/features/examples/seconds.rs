//! Analyses an audio file as a song and prints what is stored of it, second by second, as one JSON object: all outputs of the
//! algorithms that are named, or of all there are, with all their statistics, and annotations and summaries.
//!
//! `cargo run --release -p antiphon-features --example seconds -- song.flac [level,loudness]`

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{Cell, LayerId, decode_block, layer, merge_partials, one_second, value};
use antiphon_features::descriptor::{Aggregate, Descriptor, Kind, Output, PERCENTILES, Series};
use antiphon_features::session::{Analysis, Block, Item, Session, SummaryValue};
use antiphon_features::{find, registry};
use serde_json::{Map, Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name a file")?;
    let algorithms: Vec<&'static Descriptor> = match arguments.next() {
        Some(list) => list.split(',').map(|name| find(name).ok_or("no such algorithm")).collect::<Result<_, _>>()?,
        None => registry().to_vec(),
    };
    let mut decoder = Decoder::open(BufReader::new(File::open(path)?), Limits::default())?;
    let info = *decoder.info();
    let stream = Stream {
        rate: info.rate,
        channels: info.channels,
        first_sample: 0,
        first_body_sample: 0,
        song: true,
        calibration_db: None,
    };
    let items: Vec<Item> = algorithms.iter().map(|descriptor| item(descriptor)).collect();
    let mut session = Session::new(&items, &stream)?;
    let mut blocks = Vec::new();
    while let Some(block) = decoder.next_block()? {
        session.push(block.channels());
        blocks.append(&mut session.take_blocks());
    }
    let Analysis { blocks: last, annotations, summaries } = session.finish();
    blocks.extend(last);

    let columns = columns(&algorithms);
    let annotations = annotations.iter().map(|found| {
        json!({
            "type": format!("{}.{}", found.algorithm, found.kind), "label": found.label, "from": found.from, "to": found.to,
            "value": found.value, "confidence": found.confidence,
        })
    });
    let summaries = summaries.iter().map(|found| {
        let value = match &found.value {
            SummaryValue::Number(number) => json!(number),
            SummaryValue::Text(text) => json!(text),
            SummaryValue::Missing(reason) => json!({ "missing": reason }),
        };
        (full_name(found.algorithm, found.output), value)
    });
    let object = json!({
        "rate": info.rate, "channels": info.channels, "frames": decoder.position(),
        "annotations": annotations.collect::<Vec<_>>(), "summaries": summaries.collect::<Map<_, _>>(),
        "columns": columns.iter().map(Column::to_json).collect::<Vec<_>>(), "rows": rows(&blocks, &columns)?,
    });
    println!("{object}");
    Ok(())
}

/// All that an algorithm computes, but for the preview, which is a picture.
fn item(descriptor: &'static Descriptor) -> Item {
    let is_picture =
        |output: &Output| matches!(&output.kind, Kind::Series(series) if series.aggregate == Aggregate::Preview);
    let outputs = descriptor.outputs.iter().filter(|output| !is_picture(output));
    Item {
        algorithm: descriptor.name.to_owned(),
        outputs: outputs.map(|output| output.name.to_owned()).collect(),
        ..Item::default()
    }
}

/// One statistic of one dimension of an output.
struct Column {
    descriptor: &'static Descriptor,
    output: &'static Output,
    series: &'static Series,
    stat: &'static str,
    dimension: usize,
}

impl Column {
    fn to_json(&self) -> Value {
        json!({
            "output": full_name(self.descriptor.name, self.output.name), "dimension": self.dimension, "stat": self.stat,
            "default": self.stat == self.series.default_stat(), "unit": self.output.unit,
        })
    }
}

fn full_name(algorithm: &str, output: &str) -> String {
    if output.is_empty() { algorithm.to_owned() } else { format!("{algorithm}.{output}") }
}

fn columns(algorithms: &[&'static Descriptor]) -> Vec<Column> {
    let mut columns = Vec::new();
    for &descriptor in algorithms {
        for (output, series) in descriptor.series() {
            for &stat in series.stats.iter().filter(|stat| **stat != PERCENTILES) {
                let dimensions = 0..usize::from(series.dimensions);
                columns.extend(dimensions.map(|dimension| Column { descriptor, output, series, stat, dimension }));
            }
        }
    }
    columns
}

/// The second, and a value for each column: null where there is none.
fn rows(blocks: &[Block], columns: &[Column]) -> Result<Vec<Vec<Value>>, Box<dyn Error>> {
    let mut layers: BTreeMap<LayerId, BTreeMap<i64, Cell>> = BTreeMap::new();
    for block in blocks {
        let stored = layer(block.algorithm, block.layer).ok_or("a block of no layer")?;
        let cells = layers.entry(stored.id).or_default();
        for partial in decode_block(stored, block.minute, &block.data)? {
            cells.insert(partial.second, merge_partials(stored, &[&partial]));
        }
    }
    for cells in layers.values_mut() {
        let own = cells.clone();
        for (at, cell) in cells {
            *cell = one_second(cell.layer, [3, 2, 1].map(|before| own.get(&(at - before))), cell);
        }
    }
    let mut seconds: Vec<i64> = layers.values().flat_map(BTreeMap::keys).copied().collect();
    seconds.sort_unstable();
    seconds.dedup();
    let row = |second: &i64| {
        let values = columns.iter().map(|column| {
            let layer = LayerId { algorithm: column.descriptor.name, layer: column.series.layer };
            let found = value(layers.get(&layer)?.get(second)?, column.output, column.stat, column.dimension)?;
            // By way of its shortest text: as f64 it would show digits that it does not have.
            found.to_string().parse::<f64>().ok()
        });
        std::iter::once(json!(second)).chain(values.map(Value::from)).collect()
    };
    Ok(seconds.iter().map(row).collect())
}
