//! What algorithms share: one mono mix-down, one resampling for each rate, one transform for each size.

use antiphon_audio::downmix::mono;
use antiphon_audio::resample::Resampler;
use antiphon_audio::stft::{Frame, Grid, Stft, StftSpec};

use super::Runner;
use crate::algorithm::{COMMON, Needs, Spectrum, Stream};
use crate::mel::{Bands, Song};

/// The shared front end of a session.
pub(super) struct Front {
    mixed: Vec<f32>,
    rates: Vec<Rate>,
    song: bool,
}

/// The mono signal at one rate, with the transforms that run on it.
struct Rate {
    /// `None` at the rate of the source.
    resampler: Option<Resampler>,
    resampled: Vec<f32>,
    transforms: Vec<Transform>,
}

/// One transform, and the runners that asked for it.
struct Transform {
    stft: Stft,
    serves: Serves,
}

/// Who gets the frames of a transform, and what is made of a frame for all of them.
struct Serves {
    runners: Vec<usize>,
    mel: Option<Bands>,
    song: Option<WholeSong>,
}

/// The bands of a song so far, and the runners that asked for the whole of them.
struct WholeSong {
    runners: Vec<usize>,
    song: Song,
}

impl Front {
    /// What serves the needs of the runners, given in their order.
    pub(super) fn new(needs: &[Needs], stream: &Stream) -> Front {
        let mut front = Front { mixed: Vec::new(), rates: Vec::new(), song: stream.song };
        let mut specs: Vec<StftSpec> = Vec::new();
        for spec in needs.iter().filter_map(|needs| needs.stft.as_ref()) {
            if !specs.contains(spec) {
                specs.push(*spec);
            }
        }
        let grid = if stream.song { Grid::Centred } else { Grid::Trailing };
        let mut rates: Vec<u32> = specs.iter().map(|spec| spec.rate).collect();
        rates.sort_unstable();
        rates.dedup();
        for rate in rates {
            let resampler = (rate != stream.rate).then(|| Resampler::new(stream.rate, rate, stream.first_sample));
            let first = resampler.as_ref().map_or(stream.first_sample, Resampler::next_output);
            let transforms = specs
                .iter()
                .filter(|spec| spec.rate == rate)
                .map(|spec| {
                    let runners: Vec<usize> =
                        (0..needs.len()).filter(|&index| needs[index].stft == Some(*spec)).collect();
                    let mel = *spec == COMMON && runners.iter().any(|&index| needs[index].mel);
                    let whole: Vec<usize> = runners.iter().copied().filter(|&index| needs[index].song).collect();
                    let song = (mel && stream.song && !whole.is_empty())
                        .then(|| WholeSong { runners: whole, song: Song::new() });
                    let serves = Serves { runners, mel: mel.then(Bands::new), song };
                    Transform { stft: Stft::new(*spec, grid, first), serves }
                })
                .collect();
            front.rates.push(Rate { resampler, resampled: Vec::new(), transforms });
        }
        front
    }

    /// Passes a step on.
    pub(super) fn push(&mut self, step: &[&[f32]], runners: &mut [Runner]) {
        if self.rates.is_empty() {
            return;
        }
        self.mixed.clear();
        mono(step, &mut self.mixed);
        for rate in &mut self.rates {
            let samples = match &mut rate.resampler {
                None => &self.mixed,
                Some(resampler) => {
                    rate.resampled.clear();
                    resampler.push(&self.mixed, &mut rate.resampled);
                    &rate.resampled
                }
            };
            for transform in &mut rate.transforms {
                let serves = &mut transform.serves;
                transform.stft.push(samples, |frame| deliver(&frame, rate.resampler.as_ref(), serves, runners));
            }
        }
    }

    /// Passes on what comes after the last sample of a song. A sensor's frames that reach beyond the end belong to the
    /// recording that follows.
    pub(super) fn finish(&mut self, runners: &mut [Runner]) {
        if !self.song {
            return;
        }
        for rate in &mut self.rates {
            rate.resampled.clear();
            if let Some(resampler) = &mut rate.resampler {
                resampler.finish(&mut rate.resampled);
            }
            for transform in &mut rate.transforms {
                let serves = &mut transform.serves;
                let resampler = rate.resampler.as_ref();
                transform.stft.push(&rate.resampled, |frame| deliver(&frame, resampler, serves, runners));
                transform.stft.finish(|frame| deliver(&frame, resampler, serves, runners));
                if let Some(whole) = &serves.song {
                    for runner in &whole.runners {
                        let runner = &mut runners[*runner];
                        runner.algorithm.song(&whole.song, &mut runner.sink);
                    }
                }
            }
        }
    }
}

fn deliver(frame: &Frame<'_>, resampler: Option<&Resampler>, serves: &mut Serves, runners: &mut [Runner]) {
    let spectrum = Spectrum {
        last_input: resampler.map_or(frame.last, |resampler| resampler.last_input(frame.last)),
        index: frame.index,
        power: frame.power,
        samples: frame.samples,
        inside: frame.inside,
        mel: serves.mel.as_mut().map_or(&[], |bands| bands.decibels(frame.power)),
    };
    if let Some(whole) = &mut serves.song {
        whole.song.push(spectrum.mel);
    }
    for &index in &serves.runners {
        let runner = &mut runners[index];
        runner.algorithm.spectrum(&spectrum, &mut runner.sink);
    }
}
