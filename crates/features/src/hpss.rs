//! How much of the sound is percussive, by medians along time and along frequency.

use antiphon_audio::vector::widest;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output};
use crate::median::{medians, mirrored, replace};
use crate::registry::Request;
use crate::session::Sink;

/// Values in a median, and how far it reaches to either side.
const LENGTH: usize = 31;
const REACH: usize = LENGTH / 2;
const BINS: usize = SPEC.size as usize / 2 + 1;
/// Frames that are kept: those of a median, and the one that leaves it.
const KEPT: usize = LENGTH + 1;

/// The facts about `hpss`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "hpss",
    version: 1,
    family: "spectral",
    title: "Balance of percussive and harmonic sound",
    about: "Power spectra of 2,048 samples (periodic Hann) every 512 at 22,050 Hz. What lasts is harmonic, what is broad is \
            percussive: h is the median of a bin's power over 31 frames, p that over 31 bins of a frame, each centred; the \
            percussive part of the amplitude is p / (h + p) (half if both are 0), the harmonic part the rest. The value is the \
            energy of the percussive part over the sum of the energies of both, all bins together: 0 is wholly harmonic, \
            1 wholly percussive, steady noise lies in between. Medians mirror the spectrum at 0 Hz and at half the rate, and \
            the frames at the first and the last of a song. Absent in digital silence. A sensor's value needs 15 frames \
            that come later, and belongs to the instant of the last sample of these: it describes the sound 0.35 s \
            before. Without a lead-in a sensor's first 15 frames have no value, and the next 15 \
            mirror what follows in place of what came before.",
    outputs: &[Output {
        name: "percussive",
        title: "Percussive share of the energy",
        kind: Kind::frames(1, "main", Hop::of(&SPEC)),
        unit: "1",
        labels: &[],
        default: true,
    }],
    parameters: &[],
    reference: "librosa 0.11: H, P = decompose.hpss(stft(y), kernel_size=31, power=2, margin=1); by frame, the sum over bins of \
                |P|^2 over that of |H|^2 + |P|^2 (D. FitzGerald, \"Harmonic/percussive separation using median \
                filtering\", DAFx 2010)",
};

/// A running `hpss`.
struct Hpss {
    song: bool,
    /// The last frames, one row of bins each; frame n of the stream is in row n modulo `KEPT`.
    powers: Vec<f32>,
    /// Index and last input of the same frames.
    places: [(i64, i64); KEPT],
    /// Frames that have come, and frames that were measured.
    come: usize,
    measured: usize,
    /// For each bin, the powers of the frames around the one measured last, in rising order.
    along_time: Vec<[f32; LENGTH]>,
}

/// Makes `hpss` run.
pub(crate) fn construct(_request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Hpss {
        song: stream.song,
        powers: vec![0.0; KEPT * BINS],
        places: [(0, 0); KEPT],
        come: 0,
        measured: 0,
        along_time: vec![[0.0; LENGTH]; BINS],
    })
}

impl Algorithm for Hpss {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        let row = self.come % KEPT;
        self.powers[row * BINS..(row + 1) * BINS].copy_from_slice(spectrum.power);
        self.places[row] = (spectrum.index, spectrum.last_input);
        self.come += 1;
        if self.come > REACH {
            self.measure(sink);
        }
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        // A sensor's last frames belong to the recording that follows.
        while self.song && self.measured < self.come {
            self.measure(sink);
        }
    }
}

impl Hpss {
    /// Measures the next frame.
    fn measure(&mut self, sink: &mut Sink) {
        let frame = self.measured as i64;
        if frame == 0 {
            let rows: [usize; LENGTH] = std::array::from_fn(|place| self.row(place as i64 - REACH as i64));
            for (bin, sorted) in self.along_time.iter_mut().enumerate() {
                *sorted = rows.map(|first| self.powers[first + bin]);
                sorted.sort_unstable_by(f32::total_cmp);
            }
        } else {
            let leaving = self.row(frame - 1 - REACH as i64);
            let entering = self.row(frame + REACH as i64);
            let (leaving, entering) = (&self.powers[leaving..][..BINS], &self.powers[entering..][..BINS]);
            let along_time = &mut self.along_time;
            widest(
                #[inline(always)]
                || {
                    for (sorted, (&leaving, &entering)) in along_time.iter_mut().zip(leaving.iter().zip(entering)) {
                        replace(sorted, leaving, entering);
                    }
                },
            );
        }
        let power = &self.powers[self.row(frame)..][..BINS];
        let share = widest(
            #[inline(always)]
            || percussive_share(power, &self.along_time),
        );
        let reported = if self.song { self.measured } else { self.come - 1 };
        let (index, last_input) = self.places[reported % KEPT];
        sink.frame(index, last_input, &[share]);
        self.measured += 1;
    }

    /// Where the row of a frame begins; beyond the first and the last frame that has come, frames are mirrored.
    fn row(&self, frame: i64) -> usize {
        mirrored(frame, self.come) % KEPT * BINS
    }
}

/// The percussive share of the energy of a frame; NaN if there is no energy.
#[inline(always)]
fn percussive_share(power: &[f32], along_time: &[[f32; LENGTH]]) -> f32 {
    let (mut percussive, mut harmonic) = (0.0f64, 0.0f64);
    medians::<LENGTH>(power, |bin, broad| {
        let lasting = along_time[bin][REACH];
        let sum = broad + lasting;
        let part = if sum > 0.0 { broad / sum } else { 0.5 };
        percussive += f64::from(power[bin] * part * part);
        harmonic += f64::from(power[bin] * (1.0 - part) * (1.0 - part));
    });
    (percussive / (percussive + harmonic)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{FRAMES, decode_frames};
    use crate::session::Item;
    use crate::testing::{item, noise, run, sensor, sine, song};

    fn shares(stream: &Stream, samples: &[f32]) -> Vec<(i64, f32)> {
        let items = [Item { frames: true, ..item("hpss") }];
        let analysis = run(&items, stream, &[samples]);
        let blocks = analysis.blocks.iter().filter(|block| block.layer == FRAMES);
        let frames = blocks.flat_map(|block| decode_frames(&DESCRIPTOR, block.minute, &block.data).unwrap());
        frames.map(|frame| (frame.start, frame.values[0])).collect()
    }

    fn mean(shares: &[(i64, f32)]) -> f32 {
        shares.iter().map(|(_, share)| share).sum::<f32>() / shares.len() as f32
    }

    #[test]
    fn tones_are_harmonic_clicks_percussive_and_noise_is_between() {
        let rate = 22_050;
        let tone = shares(&song(rate, 1), &sine(rate, 440.0, 0.5, 2.0));
        assert!(mean(&tone[4..tone.len() - 4]) < 1e-3);
        let clicks: Vec<f32> = (0..2 * rate).map(|n| f32::from(u8::from(n % 11_025 == 5_000))).collect();
        let clicks: Vec<_> = shares(&song(rate, 1), &clicks).into_iter().filter(|(_, share)| !share.is_nan()).collect();
        assert!(!clicks.is_empty() && mean(&clicks) > 0.99, "{clicks:?}");
        let hiss = mean(&shares(&song(rate, 1), &noise(3, 44_100)));
        assert!((0.3..0.8).contains(&hiss), "{hiss}");
    }

    #[test]
    fn silence_has_no_balance_and_short_songs_have_one() {
        assert!(shares(&song(44_100, 1), &[0.0; 44_100]).iter().all(|(_, share)| share.is_nan()));
        for samples in [1, 10, 441, 5_000] {
            let shares = shares(&song(44_100, 1), &noise(9, samples));
            assert!(shares.iter().all(|(_, share)| (0.0..=1.0).contains(share)), "{samples}: {shares:?}");
        }
        assert!(shares(&song(44_100, 1), &[]).iter().all(|(_, share)| share.is_nan()));
    }

    #[test]
    fn a_lead_in_says_all_that_came_before() {
        let rate = 22_050_i64;
        let first = 1_777_593_600 * rate;
        let samples: Vec<f32> = noise(1, 6 * rate as usize);
        let whole = shares(&sensor(rate as u32, 1, first), &samples);
        let stream = Stream { first_body_sample: first + 5 * rate, ..sensor(rate as u32, 1, first + 3 * rate) };
        let part = shares(&stream, &samples[3 * rate as usize..]);
        assert!(part.len() > 40);
        for (start, share) in part {
            let expected = whole.iter().find(|(other, _)| *other == start).unwrap().1;
            assert_eq!(share, expected, "{start}");
        }
    }
}
