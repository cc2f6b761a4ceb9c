//! A picture of one file: waveform, spectrogram, pitch and level over one axis of time, as SVG.
//!
//! Memory does not grow with the file: all that is drawn is folded into at most [`MOST_BINS`] bins while the file is read, and
//! when they are full, neighbours are joined.

mod draw;

use std::path::Path;

use antiphon_audio::decode::Info;
use antiphon_features::cells::{FRAMES, decode_frames, frame_columns};
use antiphon_features::descriptor::Hop;
use antiphon_features::find;
use antiphon_features::session::{Annotation, Block, Item, Summary};
use anyhow::{Context, Result};

use super::compute::{Reading, read};

/// Most bins over time; at least half as many are in use once a file is longer.
const MOST_BINS: usize = 2_400;

/// Everything that is drawn of a file.
pub(super) struct Picture {
    name: String,
    info: Info,
    /// Seconds of audio.
    duration: f64,
    waveform: Envelope,
    spectrogram: Track,
    level: Track,
    pitch: Track,
    /// Starts of onsets and of beats, in seconds.
    onsets: Vec<f64>,
    beats: Vec<f64>,
    summaries: Vec<Summary>,
    /// Why the end of the file is missing, if it is.
    pub(super) broken: Option<String>,
}

/// Frames of one output, folded over time.
struct Track {
    algorithm: &'static str,
    output: &'static str,
    dimensions: usize,
    hop: Hop,
    /// Frames in one bin.
    per_bin: u64,
    sums: Vec<f64>,
    counts: Vec<u32>,
}

/// The smallest and largest sample of each bin.
struct Envelope {
    /// Samples in one bin.
    per_bin: u64,
    next: u64,
    bins: Vec<(f32, f32)>,
}

/// Reads a file and gathers what is drawn.
///
/// # Errors
/// When it cannot be read or is no audio that is decoded. One that breaks off later is drawn up to there.
pub(super) fn picture(path: &Path) -> Result<Picture> {
    let item = |algorithm: &str, outputs: &[&str], frames| Item {
        algorithm: algorithm.to_owned(),
        outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
        frames,
        ..Item::default()
    };
    let items = [
        item("mel", &[""], true),
        item("level", &["a"], true),
        item("pitch", &["f0"], true),
        item("onset", &["onset"], false),
        item("rhythm", &["tempo", "beat"], false),
        item("key", &["key"], false),
        item("loudness", &["integrated"], false),
    ];
    let mut tracks = [Track::new("mel", "")?, Track::new("level", "a")?, Track::new("pitch", "f0")?];
    let mut waveform = Envelope { per_bin: 1, next: 0, bins: Vec::new() };
    let Reading { info, duration, analysis, broken } = read(path, &items, |channels, blocks| {
        waveform.add(channels);
        fold(&mut tracks, &blocks)
    })?;
    fold(&mut tracks, &analysis.blocks)?;
    let starts = |kind: &str| starts(&analysis.annotations, kind);
    let [spectrogram, level, pitch] = tracks;
    Ok(Picture {
        name: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        info,
        duration,
        waveform,
        spectrogram,
        level,
        pitch,
        onsets: starts("onset"),
        beats: starts("beat"),
        summaries: analysis.summaries,
        broken,
    })
}

impl Picture {
    /// The SVG document.
    ///
    /// # Errors
    /// When the image of the spectrogram cannot be packed.
    pub(super) fn svg(&self) -> Result<String> {
        draw::svg(self)
    }
}

fn starts(annotations: &[Annotation], kind: &str) -> Vec<f64> {
    annotations.iter().filter(|found| found.kind == kind).map(|found| found.from as f64 * 1e-6).collect()
}

fn fold(tracks: &mut [Track], blocks: &[Block]) -> Result<()> {
    for block in blocks.iter().filter(|block| block.layer == FRAMES) {
        for track in tracks.iter_mut().filter(|track| track.algorithm == block.algorithm) {
            track.add(block)?;
        }
    }
    Ok(())
}

impl Track {
    fn new(algorithm: &'static str, output: &'static str) -> Result<Track> {
        let descriptor = find(algorithm).with_context(|| format!("there is no algorithm {algorithm}"))?;
        let hop = descriptor.hop().with_context(|| format!("{algorithm} has no frames"))?;
        let dimensions = frame_columns(descriptor, output).len();
        Ok(Track { algorithm, output, dimensions, hop, per_bin: 1, sums: Vec::new(), counts: Vec::new() })
    }

    fn add(&mut self, block: &Block) -> Result<()> {
        let descriptor = find(self.algorithm).with_context(|| format!("there is no algorithm {}", self.algorithm))?;
        let columns = frame_columns(descriptor, self.output);
        for frame in decode_frames(descriptor, block.minute, &block.data)? {
            let hops = frame.start as f64 * 1e-6 * f64::from(self.hop.rate) / f64::from(self.hop.samples);
            self.place(hops.round() as u64, &frame.values[columns.clone()]);
        }
        Ok(())
    }

    fn place(&mut self, index: u64, values: &[f32]) {
        while (index / self.per_bin) as usize >= MOST_BINS {
            self.join_neighbours();
        }
        let first = (index / self.per_bin) as usize * self.dimensions;
        let end = first + self.dimensions;
        if self.sums.len() < end {
            self.sums.resize(end, 0.0);
            self.counts.resize(end, 0);
        }
        let present = values.iter().enumerate().filter(|(_, value)| value.is_finite());
        for (place, value) in present.map(|(dimension, value)| (first + dimension, value)) {
            self.sums[place] += f64::from(*value);
            self.counts[place] += 1;
        }
    }

    fn join_neighbours(&mut self) {
        let bins = self.bins();
        for to in 0..bins.div_ceil(2) {
            for dimension in 0..self.dimensions {
                let at = |bin: usize| bin * self.dimensions + dimension;
                let second = (2 * to + 1 < bins).then(|| at(2 * to + 1));
                self.sums[at(to)] = self.sums[at(2 * to)] + second.map_or(0.0, |place| self.sums[place]);
                self.counts[at(to)] = self.counts[at(2 * to)] + second.map_or(0, |place| self.counts[place]);
            }
        }
        self.sums.truncate(bins.div_ceil(2) * self.dimensions);
        self.counts.truncate(bins.div_ceil(2) * self.dimensions);
        self.per_bin *= 2;
    }

    fn bins(&self) -> usize {
        self.sums.len() / self.dimensions
    }

    /// The mean of the values in a bin; `None` if there are none.
    fn value(&self, bin: usize, dimension: usize) -> Option<f64> {
        let place = bin * self.dimensions + dimension;
        let count = *self.counts.get(place)?;
        (count > 0).then(|| self.sums[place] / f64::from(count))
    }

    /// Seconds from the start of one bin to that of the next.
    fn width(&self) -> f64 {
        self.per_bin as f64 * f64::from(self.hop.samples) / f64::from(self.hop.rate)
    }
}

impl Envelope {
    fn add(&mut self, channels: &[&[f32]]) {
        let frames = channels.first().map_or(0, |channel| channel.len());
        for frame in 0..frames {
            let bin = (self.next / self.per_bin) as usize;
            if bin >= MOST_BINS {
                self.bins = self.bins.chunks(2).map(join).collect();
                self.per_bin *= 2;
            }
            let bin = (self.next / self.per_bin) as usize;
            if bin == self.bins.len() {
                self.bins.push((f32::INFINITY, f32::NEG_INFINITY));
            }
            let (low, high) = &mut self.bins[bin];
            for channel in channels {
                *low = low.min(channel[frame]);
                *high = high.max(channel[frame]);
            }
            self.next += 1;
        }
    }
}

fn join(bins: &[(f32, f32)]) -> (f32, f32) {
    bins.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), bin| (low.min(bin.0), high.max(bin.1)))
}

#[cfg(test)]
mod tests;
