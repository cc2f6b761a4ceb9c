//! `docs/algorithms/NAME.svg`: what each algorithm finds in a sound that shows it, drawn by the code that also draws for
//! `antiphon analyze --plot`.

mod alike;
mod bits;
mod found;
mod sounds;

use std::path::Path;

use antiphon_features::cells::SILENCE_DB;
use antiphon_features::descriptor::{Descriptor, Output};
use antiphon_features::session::{Analysis, SummaryValue};
use antiphon_plot::{Drawing, Layout, Map, Panel, Scale, colours};
use anyhow::{Context, Result, bail};

use super::algorithms::full_name;
pub use alike::alike;
use found::{Rows, column, rows};
use sounds::Sound;

/// Pixels: the width, where panels begin and end, and the distances between them.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 840.0;
const TOP: f64 = 100.0;
const GAP: f64 = 30.0;
const TABLE_ROW: f64 = 22.0;
/// Points of a curve, columns and rows of a map: more would be finer than a pixel or two, and make large files.
const MOST_POINTS: usize = 240;
const MOST_COLUMNS: usize = 150;
const MOST_ROWS: usize = 192;
/// Pixels that a label of a map's row needs.
const LABEL_HEIGHT: f64 = 14.0;
/// Letters of a long text that are shown.
const MOST_LETTERS: usize = 40;
/// Letters of a title that leave room for a legend beside it.
const TITLE_LETTERS: usize = 80;
const COLOURS: [&str; 4] = [colours::BLUE, colours::VERMILION, colours::GREEN, colours::PURPLE];

/// How an algorithm is drawn.
struct Picture {
    algorithm: &'static str,
    sound: fn(&Path) -> Result<Sound>,
    parts: &'static [Part],
}

/// A panel, or marks in the panel before it. Columns are of any algorithm. Values of a whole song follow as a table by themselves.
enum Part {
    /// The samples.
    Waveform,
    /// Curves over one axis, in pixels of this height.
    Curves(f64, &'static [&'static str]),
    /// A map of colours, in pixels of this height.
    Map(f64, Range, &'static str),
    /// The fingerprint of the whole, unpacked.
    Bits,
    /// Lines where an annotation begins.
    Marks(&'static str),
    /// Areas from beginning to end of an annotation.
    Intervals(&'static str),
}

/// What is dark and what is light in a map.
#[derive(Clone, Copy, PartialEq)]
enum Range {
    /// The smallest and the largest of all values.
    All,
    /// In each row its smallest and its largest.
    EachRow,
    /// So much below the largest, and the largest.
    Below(f32),
    /// These.
    Between(f32, f32),
}

use Part::{Curves, Intervals, Marks, Waveform};

/// One row for each algorithm.
const PICTURES: &[Picture] = &[
    Picture {
        algorithm: "beat_track",
        sound: |_| Ok(sounds::drums(&[("84 BPM", 84.0, 5)])),
        parts: &[Waveform, Marks("beat_track.beat"), Curves(110.0, &["onset.strength"])],
    },
    Picture {
        algorithm: "chroma",
        sound: |_| Ok(sounds::cadence(20.0)),
        parts: &[Part::Map(190.0, Range::All, "chroma.stft"), Part::Map(110.0, Range::All, "chroma.tonnetz")],
    },
    Picture {
        algorithm: "chroma_cqt",
        sound: |_| Ok(sounds::cadence(0.0)),
        parts: &[Part::Map(190.0, Range::All, "chroma_cqt")],
    },
    Picture { algorithm: "fingerprint", sound: |_| Ok(sounds::cadence(0.0)), parts: &[Waveform, Part::Bits] },
    Picture {
        algorithm: "hpss",
        sound: sounds::cuts,
        parts: &[Part::Map(140.0, Range::Below(80.0), "mel"), Curves(110.0, &["hpss.percussive"])],
    },
    Picture {
        algorithm: "indices",
        sound: |_| Ok(sounds::landscape()),
        parts: &[
            Part::Map(120.0, Range::Below(70.0), "mel"),
            Curves(50.0, &["indices.aci"]),
            Curves(50.0, &["indices.adi"]),
            Curves(50.0, &["indices.bi"]),
            Curves(50.0, &["indices.ndsi"]),
            Curves(70.0, &["indices.h", "indices.ht", "indices.hf"]),
        ],
    },
    Picture {
        algorithm: "key",
        sound: |_| Ok(sounds::cadence(0.0)),
        parts: &[Part::Map(170.0, Range::All, "chroma_cqt")],
    },
    Picture {
        algorithm: "level",
        sound: sounds::cuts,
        parts: &[
            Curves(150.0, &["level.a", "level.c", "level.z", "level.peak"]),
            Part::Map(180.0, Range::Below(70.0), "level.bands"),
            Curves(50.0, &["level.clipping"]),
        ],
    },
    Picture {
        algorithm: "loudness",
        sound: sounds::levels,
        parts: &[
            Curves(130.0, &["loudness.momentary", "loudness.short_term", "loudness.integrated"]),
            Curves(50.0, &["loudness.range"]),
            Curves(70.0, &["loudness.true_peak"]),
        ],
    },
    Picture {
        algorithm: "mel",
        sound: sounds::cuts,
        parts: &[Part::Map(200.0, Range::Below(80.0), "mel"), Part::Map(120.0, Range::Below(160.0), "mel.preview")],
    },
    Picture {
        algorithm: "melody",
        sound: |_| Ok(sounds::voice(0.0)),
        parts: &[Curves(160.0, &["melody.f0"]), Curves(80.0, &["melody.voiced", "melody.probability"])],
    },
    Picture { algorithm: "mfcc", sound: sounds::cuts, parts: &[Waveform, Part::Map(200.0, Range::EachRow, "mfcc")] },
    Picture {
        algorithm: "mfcc_top_db",
        sound: sounds::cuts,
        parts: &[Waveform, Part::Map(200.0, Range::EachRow, "mfcc_top_db")],
    },
    Picture {
        algorithm: "onset",
        sound: sounds::loops,
        parts: &[Waveform, Marks("onset.onset"), Curves(130.0, &["onset.strength"]), Marks("onset.onset")],
    },
    Picture {
        algorithm: "onset_detect",
        sound: sounds::loops,
        parts: &[
            Waveform,
            Marks("onset_detect.onset"),
            Curves(130.0, &["onset.strength"]),
            Marks("onset_detect.onset"),
        ],
    },
    Picture {
        algorithm: "pitch",
        sound: |_| Ok(sounds::voice(30.0)),
        parts: &[
            Curves(160.0, &["pitch.f0", "pitch.yin"]),
            Curves(90.0, &["pitch.voiced", "pitch.probability", "pitch.aperiodicity"]),
        ],
    },
    Picture {
        algorithm: "rhythm",
        sound: |_| Ok(sounds::drums(&[("84 BPM", 84.0, 5)])),
        parts: &[Waveform, Marks("rhythm.beat"), Curves(110.0, &["onset.strength"])],
    },
    Picture {
        algorithm: "silence",
        sound: sounds::pauses,
        parts: &[Waveform, Intervals("silence.silence"), Curves(120.0, &["level.z"]), Intervals("silence.silence")],
    },
    Picture {
        algorithm: "spectral",
        sound: sounds::cuts,
        parts: &[
            Curves(120.0, &["spectral.centroid", "spectral.bandwidth", "spectral.rolloff"]),
            Curves(50.0, &["spectral.flatness"]),
            Curves(50.0, &["spectral.flux"]),
            Curves(50.0, &["spectral.crest"]),
            Curves(50.0, &["spectral.entropy"]),
            Part::Map(110.0, Range::All, "spectral.contrast"),
        ],
    },
    Picture {
        algorithm: "tempogram",
        sound: |_| Ok(sounds::drums(&[("100 BPM", 100.0, 5), ("140 BPM", 140.0, 7)])),
        parts: &[Part::Map(288.0, Range::Between(0.0, 0.3), "tempogram")],
    },
    Picture {
        algorithm: "waveform",
        sound: sounds::cuts,
        parts: &[Waveform, Curves(90.0, &["waveform.zero_crossing_rate"]), Curves(90.0, &["waveform.rms"])],
    },
];

/// The picture of an algorithm and what it is of.
pub struct Drawn {
    /// The SVG document.
    pub svg: String,
    /// The sound, in one line.
    pub sound: &'static str,
}

/// Draws an algorithm.
pub fn draw(root: &Path, descriptor: &'static Descriptor) -> Result<Drawn> {
    let name = descriptor.name;
    let picture = PICTURES.iter().find(|picture| picture.algorithm == name);
    let picture = picture.with_context(|| format!("{name} has no row among the pictures"))?;
    let sound = (picture.sound)(root)?;
    let columns = picture.parts.iter().flat_map(Part::columns).map(|column| (*column).to_owned());
    let summaries = descriptor.outputs.iter().filter(|output| output.has_summary());
    let own: Vec<String> = columns.chain(summaries.map(|output| full_name(descriptor, output))).collect();
    let analysis = found::analyse(&sound, own.iter().map(String::as_str))?;
    let table = table(descriptor, &analysis);

    let panels = panels(picture.parts);
    let bottom = panels.iter().fold(TOP, |bottom, panel| bottom.max(panel.bottom()));
    let height = bottom + 52.0 + if table.is_empty() { 0.0 } else { 12.0 + TABLE_ROW * table.len() as f64 };
    let layout = Layout { width: WIDTH, height, left: LEFT, right: RIGHT, seconds: sound.seconds() };
    let description = format!("{}. {}.", descriptor.title, sound.about);
    let mut drawing = Drawing::new(layout, name, sound.about, &description);
    for (at, part) in &sound.parts {
        drawing.text(drawing.x(*at) + 3.0, TOP - 26.0, part);
    }
    for (part, panel) in picture.parts.iter().zip(panels) {
        draw_part(&mut drawing, part, panel, &sound, &analysis).with_context(|| format!("the picture of {name}"))?;
    }
    let whole = Panel { top: TOP, height: bottom - TOP };
    let borders: Vec<f64> = sound.parts.iter().skip(1).map(|(at, _)| *at).collect();
    drawing.marks(whole, &borders, (0.0, 1.0), "#888", "borders of the parts");
    drawing.time_axis(TOP, bottom);
    for (row, (what, value)) in table.iter().enumerate() {
        let y = bottom + 68.0 + TABLE_ROW * row as f64;
        drawing.text(LEFT, y, what);
        drawing.text(LEFT + 200.0, y, value);
    }
    Ok(Drawn { svg: drawing.finish(), sound: sound.about })
}

impl Part {
    fn columns(&self) -> &[&'static str] {
        match self {
            Part::Waveform | Part::Bits => &[],
            Part::Curves(_, columns) => columns,
            Part::Map(_, _, column) | Part::Marks(column) | Part::Intervals(column) => std::slice::from_ref(column),
        }
    }
}

/// The panel of each part: its own, or that before it.
fn panels(parts: &[Part]) -> Vec<Panel> {
    let mut panels = Vec::new();
    let mut last = Panel { top: TOP - GAP, height: 0.0 };
    for part in parts {
        let height = match part {
            Part::Waveform => Some(80.0),
            Part::Bits => Some(192.0),
            Part::Curves(height, _) | Part::Map(height, ..) => Some(*height),
            Part::Marks(_) | Part::Intervals(_) => None,
        };
        if let Some(height) = height {
            last = Panel { top: last.bottom() + GAP, height };
        }
        panels.push(last);
    }
    panels
}

fn draw_part(drawing: &mut Drawing, part: &Part, panel: Panel, sound: &Sound, analysis: &Analysis) -> Result<()> {
    match part {
        Part::Waveform => draw_waveform(drawing, panel, sound),
        Part::Curves(_, columns) => draw_curves(drawing, panel, columns, analysis)?,
        Part::Bits => draw_bits(drawing, panel, analysis)?,
        Part::Map(_, range, name) => draw_map(drawing, panel, *range, name, analysis)?,
        Part::Marks(name) => {
            let times: Vec<f64> = intervals(analysis, name)?.into_iter().map(|(from, _)| from).collect();
            drawing.marks(panel, &times, (0.0, 1.0), colours::VERMILION, name);
            drawing.legend(panel, &[(colours::VERMILION, format!("| {name}: {}", times.len()))]);
        }
        Part::Intervals(name) => {
            let found = intervals(analysis, name)?;
            found.iter().for_each(|interval| drawing.interval(panel, *interval, colours::VERMILION));
            drawing.legend(panel, &[(colours::VERMILION, format!("{name}: {}", found.len()))]);
        }
    }
    Ok(())
}

/// Beginnings and ends in seconds.
fn intervals(analysis: &Analysis, name: &str) -> Result<Vec<(f64, f64)>> {
    let (descriptor, output) = column(name)?;
    let is_it = |algorithm: &str, kind: &str| algorithm == descriptor.name && kind == output.name;
    let found = analysis.annotations.iter().filter(|found| is_it(found.algorithm, found.kind));
    Ok(found.map(|found| (found.from as f64 * 1e-6, found.to as f64 * 1e-6)).collect())
}

fn draw_waveform(drawing: &mut Drawing, panel: Panel, sound: &Sound) {
    drawing.panel(panel, "samples");
    let loudest = sound.samples.iter().fold(0.0_f32, |most, sample| most.max(sample.abs())).max(1e-6);
    let per_point = sound.samples.len().div_ceil(2 * MOST_POINTS).max(1);
    let share = |value: f32| 0.5 + 0.5 * f64::from(value / loudest);
    let bounds = sound.samples.chunks(per_point).enumerate().map(|(index, samples)| {
        let seconds = (index as f64 + 0.5) * per_point as f64 / f64::from(sound.rate);
        let (low, high) = samples.iter().fold((0.0_f32, 0.0_f32), |(l, h), sample| (l.min(*sample), h.max(*sample)));
        (seconds, (share(low), share(high)))
    });
    drawing.band(panel, &bounds.collect::<Vec<_>>(), colours::BLUE);
}

fn draw_curves(drawing: &mut Drawing, panel: Panel, columns: &[&str], analysis: &Analysis) -> Result<()> {
    let mut found = Vec::new();
    for name in columns {
        found.push((*name, column(name)?.1, rows(analysis, name)?.folded(MOST_POINTS, 1)));
    }
    let Some((_, first, _)) = found.first() else { bail!("a panel without a curve") };
    let title = match (found.len(), first.unit) {
        (1, "1") => title(columns[0], first),
        (1, unit) => title(&format!("{} in {unit}", columns[0]), first),
        (_, "1") => String::from("without unit"),
        (_, unit) => format!("in {unit}"),
    };
    drawing.panel(panel, &title);
    // Digital silence would make the rest flat.
    let is_drawn = |value: &f32| *value > SILENCE_DB;
    let every = found.iter().flat_map(|(_, _, rows)| rows.values.iter().flatten()).copied();
    let scale = Scale::around(every.filter(is_drawn).map(f64::from));
    drawing.scale(panel, &scale);
    let mut legend = Vec::new();
    for ((name, output, rows), colour) in found.iter().zip(COLOURS) {
        if output.unit != first.unit {
            bail!("{name} has another unit than {}", columns[0]);
        }
        let points = rows.values.iter().enumerate().flat_map(|(index, row)| {
            let share = row.first().filter(|value| value.is_finite()).map(|value| scale.share(f64::from(*value)));
            let start = index as f64 * rows.step;
            // What is of a whole step is a level line.
            let end = if rows.lasts { start + rows.step } else { start };
            std::iter::once((start, share)).chain((end > start).then_some((end, share)))
        });
        drawing.curve(panel, points, colour, name);
        legend.push((colour, (*name).to_owned()));
    }
    if legend.len() > 1 {
        drawing.legend(panel, &legend);
    }
    Ok(())
}

/// A name with what it means, if there is room.
fn title(name: &str, output: &Output) -> String {
    let title = format!("{name}: {}", output.title);
    if title.chars().count() > TITLE_LETTERS { name.to_owned() } else { title }
}

fn draw_map(drawing: &mut Drawing, panel: Panel, range: Range, name: &str, analysis: &Analysis) -> Result<()> {
    let (_, output) = column(name)?;
    let Rows { step, dimensions, values, .. } = rows(analysis, name)?.folded(MOST_COLUMNS, MOST_ROWS);
    let bounds = |values: &mut dyn Iterator<Item = f32>| {
        let every = values.filter(|value| value.is_finite());
        every.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (lowest, highest) = bounds(&mut values.iter().flatten().copied());
    let of_row: Vec<(f32, f32)> = (0..dimensions)
        .map(|row| match range {
            Range::All => (lowest, highest),
            Range::Below(most) => (highest - most, highest),
            Range::Between(low, high) => (low, high),
            Range::EachRow => bounds(&mut values.iter().map(|values| values[row])),
        })
        .collect();
    let map = Map::new(values.len(), dimensions, |column, row| {
        let (low, high) = of_row[row];
        f64::from((values[column][row] - low) / (high - low))
    });
    drawing.panel(panel, &title(name, output));
    drawing.map(panel, &map, step * values.len() as f64)?;
    let row_height = panel.height / output.labels.len().max(1) as f64;
    let every = (LABEL_HEIGHT / row_height).ceil().max(1.0) as usize;
    for (row, label) in output.labels.iter().enumerate().step_by(every) {
        drawing.label(panel.bottom() - (row as f64 + 0.5) * row_height, &short(label));
    }
    let unit = if output.unit == "1" { "" } else { output.unit };
    let note = match (range, of_row.first()) {
        (Range::EachRow, _) | (_, None) => String::from("dark: smallest, light: largest of the row"),
        (_, Some((low, high))) => {
            format!("dark: {}, light: {} {unit}", number(f64::from(*low)), number(f64::from(*high)))
        }
    };
    drawing.legend(panel, &[("#444", note)]);
    Ok(())
}

fn draw_bits(drawing: &mut Drawing, panel: Panel, analysis: &Analysis) -> Result<()> {
    let texts = analysis.summaries.iter().filter(|summary| summary.output == "chromaprint");
    let texts =
        texts.filter_map(|summary| if let SummaryValue::Text(text) = &summary.value { Some(text) } else { None });
    let items = texts.filter_map(|text| bits::items(text)).next().context("the sound has no fingerprint")?;
    drawing.panel(panel, "bits 0 to 31 of each item");
    let map = Map::new(items.len(), 32, |item, bit| f64::from(items[item] >> bit & 1));
    drawing.map(panel, &map, bits::STEP * items.len() as f64)?;
    for bit in (0..32).step_by(8) {
        drawing.label(panel.at((f64::from(bit) + 0.5) / 32.0), &bit.to_string());
    }
    drawing.legend(panel, &[("#444", format!("{} items of 32 bits", items.len()))]);
    Ok(())
}

/// A label of a row: a number without the digits that nobody reads.
fn short(label: &str) -> String {
    match label.parse::<f64>() {
        Ok(value) if value >= 100.0 => format!("{value:.0}"),
        Ok(value) if label.contains('.') => format!("{value:.1}"),
        _ => label.to_owned(),
    }
}

/// Three digits.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What the algorithm says of the whole sound.
fn table(descriptor: &Descriptor, analysis: &Analysis) -> Vec<(String, String)> {
    let own = analysis.summaries.iter().filter(|summary| summary.algorithm == descriptor.name);
    own.filter_map(|summary| {
        let output = descriptor.output(summary.output)?;
        let value = match &summary.value {
            SummaryValue::Number(value) if output.unit == "1" => number(*value),
            SummaryValue::Number(value) => format!("{} {}", number(*value), output.unit),
            SummaryValue::Text(text) if text.chars().count() > MOST_LETTERS => {
                format!("{}... ({} letters)", text.chars().take(MOST_LETTERS).collect::<String>(), text.chars().count())
            }
            SummaryValue::Text(text) if text.is_empty() => String::from("none"),
            SummaryValue::Text(text) => text.clone(),
            SummaryValue::Missing(reason) => format!("none: {reason}"),
        };
        Some((full_name(descriptor, output), value))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use antiphon_features::registry;

    use super::*;

    #[test]
    fn every_output_of_every_algorithm_is_drawn() {
        for descriptor in registry() {
            let picture = PICTURES.iter().find(|picture| picture.algorithm == descriptor.name).unwrap();
            let drawn: Vec<&str> = picture.parts.iter().flat_map(Part::columns).copied().collect();
            for output in descriptor.outputs.iter().filter(|output| !output.has_summary()) {
                let name = full_name(descriptor, output);
                assert!(drawn.contains(&name.as_str()), "{name} is not drawn");
            }
        }
        assert_eq!(PICTURES.len(), registry().len());
    }
}
