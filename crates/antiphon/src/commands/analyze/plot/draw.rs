//! Draws a [`Picture`].

use antiphon_features::find;
use antiphon_features::session::SummaryValue;
use antiphon_plot::{Drawing, Layout, Map, Panel, Scale, clock, colours};
use anyhow::{Context, Result};

use super::{Picture, Track};
use crate::commands::output::counted;

/// Pixels: the whole, and where panels begin and end.
const WIDTH: f64 = 1_280.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 1_264.0;
const TOP: f64 = 86.0;
const GAP: f64 = 22.0;
/// Distance in dB from the loudest value of the spectrogram to black.
const RANGE_DB: f64 = 80.0;
/// The least range of the level panel in dB; the largest is [`RANGE_DB`].
const LEVEL_RANGE_DB: f64 = 40.0;
/// Frequencies that are labelled, in Hz.
const FREQUENCIES: [f64; 7] = [100.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0];

pub(super) fn svg(picture: &Picture) -> Result<String> {
    let heights = [140.0, 280.0, 130.0];
    let mut panels = [Panel { top: TOP, height: 0.0 }; 3];
    let mut top = TOP;
    for (panel, height) in panels.iter_mut().zip(heights) {
        *panel = Panel { top, height };
        top += height + GAP;
    }
    let [waveform, spectrogram, level] = panels;
    let height = level.bottom() + 52.0;
    let layout = Layout { width: WIDTH, height, left: LEFT, right: RIGHT, seconds: picture.duration };
    let facts = facts(picture);
    let description = format!("Waveform, spectrogram and level over time. {facts}");
    let mut drawing = Drawing::new(layout, &picture.name, &facts, &description);
    draw_waveform(&mut drawing, picture, waveform);
    draw_spectrogram(&mut drawing, picture, spectrogram)?;
    draw_level(&mut drawing, picture, level);
    drawing.time_axis(TOP, level.bottom());
    Ok(drawing.finish())
}

fn facts(picture: &Picture) -> String {
    let info = &picture.info;
    format!(
        "{}, {} Hz, {} channel{}, {}{}",
        info.format.name(),
        info.rate,
        info.channels,
        if info.channels == 1 { "" } else { "s" },
        clock(picture.duration, 0.1),
        summary_facts(picture),
    )
}

/// What the whole file has that fits on a line: `, -14.2 LUFS, 120 BPM, C major`.
fn summary_facts(picture: &Picture) -> String {
    let mut text = String::new();
    for (algorithm, output, digits, unit) in
        [("loudness", "integrated", 1, " LUFS"), ("rhythm", "tempo", 1, " BPM"), ("key", "key", 0, "")]
    {
        let found = picture.summaries.iter().find(|found| found.algorithm == algorithm && found.output == output);
        match found.map(|found| &found.value) {
            Some(SummaryValue::Number(value)) => text.push_str(&format!(", {value:.digits$}{unit}")),
            Some(SummaryValue::Text(value)) => text.push_str(&format!(", {value}")),
            Some(SummaryValue::Missing(_)) | None => {}
        }
    }
    text
}

fn draw_waveform(drawing: &mut Drawing, picture: &Picture, panel: Panel) {
    let bins = &picture.waveform.bins;
    let loudest = bins.iter().fold(0.0_f32, |most, (low, high)| most.max(high.abs()).max(low.abs()));
    // Full scale unless the file exceeds it.
    let scale = f64::from(loudest.max(1.0));
    let share = |value: f32| 0.5 + 0.5 * f64::from(value) / scale;
    let width = picture.waveform.per_bin as f64 / f64::from(picture.info.rate);
    drawing.panel(panel, "amplitude");
    for value in [-1.0_f32, 0.0, 1.0] {
        drawing.label(panel.at(share(value)), &format!("{value:.0}"));
    }
    let bounds =
        bins.iter().enumerate().map(|(bin, (low, high))| ((bin as f64 + 0.5) * width, (share(*low), share(*high))));
    drawing.band(panel, &bounds.collect::<Vec<_>>(), colours::BLUE);
    let marks = [
        (&picture.beats, colours::VERMILION, "beat", (0.0, 1.0)),
        (&picture.onsets, colours::BLACK, "onset", (0.86, 1.0)),
    ];
    let mut legend = Vec::new();
    for (times, colour, name, shares) in marks.into_iter().filter(|(times, ..)| !times.is_empty()) {
        let count = counted(times.len(), name);
        drawing.marks(panel, times, shares, colour, &count);
        let note = if drawing.can_tell_apart(times.len()) { "" } else { " (too close to draw)" };
        legend.push((colour, format!("| {count}{note}")));
    }
    legend.reverse();
    drawing.legend(panel, &legend);
}

fn draw_spectrogram(drawing: &mut Drawing, picture: &Picture, panel: Panel) -> Result<()> {
    let track = &picture.spectrogram;
    drawing.panel(panel, "frequency in Hz, mel scale");
    let map = spectrogram(track);
    drawing.map(panel, &map, track.bins() as f64 * track.width()).context("the spectrogram cannot be packed")?;
    let centres = centres(track)?;
    for frequency in FREQUENCIES {
        drawing.label(panel.at(band_of(&centres, frequency) / centres.len() as f64), &hertz(frequency));
    }
    let pitch = &picture.pitch;
    let points = (0..pitch.bins()).map(|bin| {
        let share = pitch.value(bin, 0).map(|hertz| band_of(&centres, hertz) / centres.len() as f64);
        ((bin as f64 + 0.5) * pitch.width(), share)
    });
    drawing.curve(panel, points, colours::WHITE, "pitch");
    Ok(())
}

fn draw_level(drawing: &mut Drawing, picture: &Picture, panel: Panel) {
    let track = &picture.level;
    drawing.panel(panel, "level in dBFS, A-weighted");
    let values: Vec<_> = (0..track.bins()).map(|bin| track.value(bin, 0)).collect();
    let heard = values.iter().flatten().copied().filter(|value| *value > -120.0);
    let (low, high) = heard.fold((0.0_f64, -120.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let top = (high / 10.0).ceil() * 10.0;
    let bottom = ((low / 10.0).floor() * 10.0).min(top - LEVEL_RANGE_DB).max(top - RANGE_DB);
    let scale = Scale::new(bottom, top, if top - bottom > 60.0 { 20.0 } else { 10.0 });
    drawing.scale(panel, &scale);
    let points = values.iter().enumerate();
    let points = points.map(|(bin, value)| ((bin as f64 + 0.5) * track.width(), value.map(|value| scale.share(value))));
    drawing.curve(panel, points, colours::GREEN, "level");
}

fn hertz(frequency: f64) -> String {
    if frequency < 1_000.0 { format!("{frequency:.0}") } else { format!("{:.0}k", frequency / 1_000.0) }
}

/// The centres of the bands in Hz.
fn centres(track: &Track) -> Result<Vec<f64>> {
    let output =
        find(track.algorithm).and_then(|found| found.output(track.output)).context("mel is in the registry")?;
    output.labels.iter().map(|label| label.parse().with_context(|| format!("{label} is no frequency"))).collect()
}

/// The place of a frequency among bands, counted from the lower edge of the first; bands are even on the scale.
fn band_of(centres: &[f64], hertz: f64) -> f64 {
    let above = centres.partition_point(|centre| *centre < hertz);
    let (Some(low), Some(high)) = (above.checked_sub(1).and_then(|below| centres.get(below)), centres.get(above))
    else {
        // Below the first centre or above the last.
        return if above == 0 {
            hertz / centres.first().map_or(1.0, |first| first * 2.0)
        } else {
            centres.len() as f64
        };
    };
    above as f64 - 0.5 + (hertz - low) / (high - low)
}

/// One pixel for each bin and band.
fn spectrogram(track: &Track) -> Map {
    let (bins, bands) = (track.bins(), track.dimensions);
    let value = |bin, band| track.value(bin, band).unwrap_or(f64::NEG_INFINITY);
    let every = (0..bins).flat_map(|bin| (0..bands).map(move |band| (bin, band)));
    let loudest = every.map(|(bin, band)| value(bin, band)).fold(f64::NEG_INFINITY, f64::max);
    Map::new(bins, bands, |bin, band| {
        let below = loudest - value(bin, band);
        // Of digital silence nothing is loudest.
        if below.is_finite() && loudest > -99.0 { 1.0 - below / RANGE_DB } else { 0.0 }
    })
}
