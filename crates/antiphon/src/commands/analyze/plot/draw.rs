//! Draws a [`Picture`].

use std::fmt::Write;

use antiphon_features::find;
use antiphon_features::session::SummaryValue;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Picture, Track, colours};
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
/// Pixels between marks, on average, below which they would be a grey area.
const MARK_DISTANCE: f64 = 5.0;
/// Steps of the time axis in seconds; the first that gives at most twelve labels is taken.
const STEPS: [f64; 17] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0];
/// Frequencies that are labelled, in Hz.
const FREQUENCIES: [f64; 7] = [100.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0];

/// One panel: its place from top to bottom.
#[derive(Clone, Copy)]
struct Panel {
    top: f64,
    height: f64,
}

impl Panel {
    fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// The place of a share of the height, 0 at the bottom.
    fn at(&self, share: f64) -> f64 {
        self.bottom() - share.clamp(0.0, 1.0) * self.height
    }
}

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
    let mut out = String::new();
    head(&mut out, picture, height)?;
    draw_waveform(&mut out, picture, waveform)?;
    draw_spectrogram(&mut out, picture, spectrogram)?;
    draw_level(&mut out, picture, level)?;
    time_axis(&mut out, picture, TOP, level.bottom())?;
    out.push_str("</svg>\n");
    Ok(out)
}

fn head(out: &mut String, picture: &Picture, height: f64) -> Result<()> {
    let name = escape(&picture.name);
    let info = &picture.info;
    let facts = format!(
        "{}, {} Hz, {} channel{}, {}{}",
        info.format.name(),
        info.rate,
        info.channels,
        if info.channels == 1 { "" } else { "s" },
        clock(picture.duration, 0.1),
        summary_facts(picture),
    );
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"name facts\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title id=\"name\">{name}</title>\n<desc id=\"facts\">Waveform, spectrogram and level over time. {facts}</desc>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"18\" font-weight=\"600\">{name}</text>\n\
         <text x=\"{LEFT}\" y=\"48\" fill=\"#444\">{facts}</text>"
    )?;
    Ok(())
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
            Some(SummaryValue::Text(value)) => text.push_str(&format!(", {}", escape(value))),
            Some(SummaryValue::Missing(_)) | None => {}
        }
    }
    text
}

fn draw_waveform(out: &mut String, picture: &Picture, panel: Panel) -> Result<()> {
    let bins = &picture.waveform.bins;
    let loudest = bins.iter().fold(0.0_f32, |most, (low, high)| most.max(high.abs()).max(low.abs()));
    // Full scale unless the file exceeds it.
    let scale = f64::from(loudest.max(1.0));
    let place = |value: f32| panel.at(0.5 + 0.5 * f64::from(value) / scale);
    let width = picture.waveform.per_bin as f64 / f64::from(picture.info.rate);
    frame(out, panel, "amplitude")?;
    for value in [-1.0_f32, 0.0, 1.0] {
        label(out, place(value), &format!("{value:.0}"))?;
    }
    if !bins.is_empty() {
        let upper = bins.iter().enumerate().map(|(bin, (_, high))| (bin, place(*high)));
        let lower = bins.iter().enumerate().rev().map(|(bin, (low, _))| (bin, place(*low)));
        write!(out, "<path fill=\"{0}\" stroke=\"{0}\" stroke-width=\"0.5\" d=\"", colours::WAVEFORM)?;
        for (count, (bin, y)) in upper.chain(lower).enumerate() {
            let x = x_of(picture, (bin as f64 + 0.5) * width);
            write!(out, "{}{x:.1} {y:.1}", if count == 0 { "M" } else { "L" })?;
        }
        writeln!(out, "Z\"/>")?;
    }
    for (times, colour, name, from, to) in
        [(&picture.beats, colours::BEAT, "beat", 0.0, 1.0), (&picture.onsets, colours::ONSET, "onset", 0.86, 1.0)]
    {
        if times.is_empty() || !can_be_told_apart(times) {
            continue;
        }
        write!(out, "<path stroke=\"{colour}\" stroke-width=\"1\" stroke-opacity=\"0.8\" d=\"")?;
        for time in times {
            let x = x_of(picture, *time);
            write!(out, "M{x:.1} {:.1}V{:.1}", panel.at(from), panel.at(to))?;
        }
        writeln!(out, "\"><title>{}</title></path>", counted(times.len(), name))?;
    }
    let marks: Vec<String> = [(&picture.onsets, colours::ONSET, "onset"), (&picture.beats, colours::BEAT, "beat")]
        .iter()
        .filter(|(times, ..)| !times.is_empty())
        .map(|(times, colour, name)| {
            let note = if can_be_told_apart(times) { "" } else { " (too close to draw)" };
            format!("<tspan fill=\"{colour}\">| {}{note}</tspan>", counted(times.len(), name))
        })
        .collect();
    if !marks.is_empty() {
        let y = panel.top - 6.0;
        writeln!(out, "<text x=\"{RIGHT}\" y=\"{y}\" text-anchor=\"end\">{}</text>", marks.join("  "))?;
    }
    Ok(())
}

fn can_be_told_apart(times: &[f64]) -> bool {
    times.len() as f64 * MARK_DISTANCE <= RIGHT - LEFT
}

fn draw_spectrogram(out: &mut String, picture: &Picture, panel: Panel) -> Result<()> {
    let track = &picture.spectrogram;
    frame(out, panel, "frequency in Hz, mel scale")?;
    if track.bins() > 0 {
        let image = STANDARD.encode(spectrogram_png(track)?);
        let end = x_of(picture, track.bins() as f64 * track.width());
        writeln!(
            out,
            "<image x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" preserveAspectRatio=\"none\" \
             href=\"data:image/png;base64,{image}\"/>",
            panel.top,
            end.min(RIGHT) - LEFT,
            panel.height
        )?;
    }
    let centres = centres(track)?;
    for frequency in FREQUENCIES {
        label(out, panel.at(band_of(&centres, frequency) / centres.len() as f64), &hertz(frequency))?;
    }
    let pitch = &picture.pitch;
    let points = (0..pitch.bins()).map(|bin| {
        let share = pitch.value(bin, 0).map(|hertz| band_of(&centres, hertz) / centres.len() as f64);
        (x_of(picture, (bin as f64 + 0.5) * pitch.width()), share.map(|share| panel.at(share)))
    });
    line(out, points, colours::PITCH, "pitch")
}

fn draw_level(out: &mut String, picture: &Picture, panel: Panel) -> Result<()> {
    let track = &picture.level;
    frame(out, panel, "level in dBFS, A-weighted")?;
    let values: Vec<_> = (0..track.bins()).map(|bin| track.value(bin, 0)).collect();
    let heard = values.iter().flatten().copied().filter(|value| *value > -120.0);
    let (low, high) = heard.fold((0.0_f64, -120.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let top = (high / 10.0).ceil() * 10.0;
    let bottom = ((low / 10.0).floor() * 10.0).min(top - LEVEL_RANGE_DB).max(top - RANGE_DB);
    let share = |value: f64| (value - bottom) / (top - bottom);
    let step = if top - bottom > 60.0 { 20.0 } else { 10.0 };
    let mut mark = top;
    while mark >= bottom {
        label(out, panel.at(share(mark)), &format!("{mark:.0}"))?;
        mark -= step;
    }
    let points = values.iter().enumerate().map(|(bin, value)| {
        (x_of(picture, (bin as f64 + 0.5) * track.width()), value.map(|value| panel.at(share(value))))
    });
    line(out, points, colours::LEVEL, "level")
}

/// A line that breaks where there is no value.
fn line(out: &mut String, points: impl Iterator<Item = (f64, Option<f64>)>, colour: &str, name: &str) -> Result<()> {
    let mut path = String::new();
    let mut pen_is_down = false;
    for (x, y) in points {
        if let Some(y) = y {
            write!(path, "{}{x:.1} {y:.1}", if pen_is_down { "L" } else { "M" })?;
            if !pen_is_down {
                // A lone value is a dot: the line cap makes it visible.
                write!(path, "L{x:.1} {y:.1}")?;
            }
        }
        pen_is_down = y.is_some();
    }
    if !path.is_empty() {
        writeln!(
            out,
            "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" stroke-linejoin=\"round\" stroke-linecap=\"round\" \
             d=\"{path}\"><title>{name}</title></path>"
        )?;
    }
    Ok(())
}

fn frame(out: &mut String, panel: Panel, title: &str) -> Result<()> {
    writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\" fill=\"#444\">{title}</text>\n\
         <rect x=\"{LEFT}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#f4f4f6\"/>",
        panel.top - 6.0,
        panel.top,
        RIGHT - LEFT,
        panel.height
    )?;
    Ok(())
}

fn label(out: &mut String, y: f64, text: &str) -> Result<()> {
    let (end, baseline) = (LEFT - 8.0, y + 4.0);
    writeln!(
        out,
        "<path stroke=\"#888\" d=\"M{} {y:.1}h5\"/><text x=\"{end}\" y=\"{baseline:.1}\" text-anchor=\"end\">{text}</text>",
        LEFT - 5.0
    )?;
    Ok(())
}

fn time_axis(out: &mut String, picture: &Picture, top: f64, bottom: f64) -> Result<()> {
    let step = STEPS.into_iter().find(|step| picture.duration / step <= 12.0).unwrap_or(STEPS[STEPS.len() - 1]);
    let mut mark = 0;
    while f64::from(mark) * step <= picture.duration {
        let seconds = f64::from(mark) * step;
        let x = x_of(picture, seconds);
        writeln!(
            out,
            "<path stroke=\"#000\" stroke-opacity=\"0.12\" d=\"M{x:.1} {top}V{}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 6.0,
            bottom + 22.0,
            clock(seconds, step)
        )?;
        mark += 1;
    }
    let middle = (LEFT + RIGHT) / 2.0;
    writeln!(out, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#444\">time</text>", bottom + 42.0)?;
    Ok(())
}

fn x_of(picture: &Picture, seconds: f64) -> f64 {
    let share = if picture.duration > 0.0 { seconds / picture.duration } else { 0.0 };
    LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
}

/// `1:02:03`, `2:03`, or seconds with as many decimals as the step needs (`2.5 s`).
fn clock(seconds: f64, step: f64) -> String {
    let digits = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
    if seconds < 60.0 {
        return format!("{seconds:.digits$} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3_600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes}:{rest:02}") }
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

/// One pixel for each bin and band, the highest band first.
fn spectrogram_png(track: &Track) -> Result<Vec<u8>> {
    let (bins, bands) = (track.bins(), track.dimensions);
    let value = |bin, band| track.value(bin, band).unwrap_or(f64::NEG_INFINITY);
    let every = (0..bins).flat_map(|bin| (0..bands).map(move |band| (bin, band)));
    let loudest = every.map(|(bin, band)| value(bin, band)).fold(f64::NEG_INFINITY, f64::max);
    let mut pixels = Vec::with_capacity(3 * bins * bands);
    for band in (0..bands).rev() {
        for bin in 0..bins {
            let below = loudest - value(bin, band);
            // Of digital silence nothing is loudest.
            let share = if below.is_finite() && loudest > -99.0 { 1.0 - below / RANGE_DB } else { 0.0 };
            pixels.extend(colours::magma(share));
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, u32::try_from(bins)?, u32::try_from(bands)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().context("the image of the spectrogram cannot be packed")?;
    writer.write_image_data(&pixels).context("the image of the spectrogram cannot be packed")?;
    writer.finish().context("the image of the spectrogram cannot be packed")?;
    Ok(bytes)
}

/// Text for SVG. Control characters are not allowed in XML 1.0, section 2.2.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
