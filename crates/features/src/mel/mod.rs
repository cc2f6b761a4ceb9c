//! The mel spectrogram, and the small one that pictures are made of.

mod bands;
mod song;

use antiphon_audio::vector::widest;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::cells::{PREVIEW_BANDS, decibels};
use crate::descriptor::{Aggregate, Descriptor, Hop, Kind, Output, Series};
use crate::lanes::ln;
use crate::registry::Request;
use crate::session::Sink;
use bands::{Bank, MEL_CENTRES, PREVIEW_CENTRES};
pub use song::Song;
pub(crate) use song::TOO_LONG;

/// Bands of `mel`.
pub(crate) const BANDS: usize = 128;
/// Below this power all is silence, as in librosa's `power_to_db`; and its level in dB.
const FLOOR: f32 = 1e-10;
const FLOOR_DB: f32 = -100.0;
/// dB of a power by its natural logarithm: 10 / ln 10.
const DB_OF_LN: f32 = 4.342_945;
/// The level of byte 0 of the preview in dB, and steps per dB.
const PREVIEW_FLOOR_DB: f64 = -120.0;
const PREVIEW_STEPS_PER_DB: f64 = 2.0;

/// The facts about `mel`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "mel",
    version: 1,
    family: "spectral",
    title: "Mel spectrogram, and a preview of it for pictures",
    about: "The mono mix-down (mean of channels) resampled to 22,050 Hz; power spectra of 2,048 samples (periodic Hann) \
            every 512; 128 triangular bands of equal area from 0 to 11,025 Hz on Slaney's mel scale; 10 log10 of \
            the power, at least -100 dB, not referred to the loudest frame. Calibration does not enter: all is relative to full \
            scale. The preview has 64 such bands of height 1, ten rows a second, one byte each: the mean square in the \
            band, averaged over the frames of the 100 ms, as 2 x (dB + 120) rounded, 0 to 255 (a full-scale sine is \
            -3 dB). For sensors a frame belongs to the instant of its last input sample (93 ms of audio, and the \
            resampler's reach of 3 ms); a row of the preview appears once its 100 ms is complete. Songs are padded with \
            zeros at both ends, frames are centred. Without a lead-in a sensor's frames reach into zeros before the \
            start: in steady noise the first three read low, \
            by 14 dB or more, by 3 to 14 dB and by 0.2 to 3 dB.",
    outputs: &[
        Output {
            name: "",
            title: "Power in 128 mel bands; labels are centres in Hz",
            kind: Kind::frames(BANDS as u16, "mel", Hop::of(&SPEC)),
            unit: "dB",
            labels: &MEL_CENTRES,
            default: false,
        },
        Output {
            name: PREVIEW,
            title: "64 bands, ten times a second, one byte each: dB = byte / 2 - 120",
            kind: Kind::Series(Series {
                dimensions: PREVIEW_BANDS as u16,
                aggregate: Aggregate::Preview,
                layer: PREVIEW,
                histogram: None,
                stats: &[],
                hop: None,
                summary: false,
            }),
            unit: "1",
            labels: &PREVIEW_CENTRES,
            default: true,
        },
    ],
    parameters: &[],
    reference: "librosa 0.11: power_to_db(feature.melspectrogram(y, sr=22050, n_fft=2048, hop_length=512, n_mels=128, \
                fmin=0, fmax=11025, htk=False, norm='slaney', power=2), top_db=None)",
};

const PREVIEW: &str = "preview";

/// The 128 bands in dB, made once a frame for all algorithms that ask.
pub(crate) struct Bands {
    bank: Bank,
    decibels: [f32; BANDS],
}

impl Bands {
    /// Triangles of area one.
    pub(crate) fn new() -> Bands {
        Bands { bank: Bank::new(BANDS, SPEC.rate, SPEC.size, |width| 2.0 / width), decibels: [0.0; BANDS] }
    }

    /// 10 log10 of the power in each band, at least -100.
    pub(crate) fn decibels(&mut self, power: &[f32]) -> &[f32] {
        let (bank, decibels) = (&self.bank, &mut self.decibels);
        widest(
            #[inline(always)]
            || {
                bank.apply(power, decibels);
                for value in decibels {
                    let level = DB_OF_LN * ln(*value);
                    // Silence is the floor to the bit, and what is just above it not below.
                    *value = if *value > FLOOR && level > FLOOR_DB { level } else { FLOOR_DB };
                }
            },
        );
        &self.decibels
    }
}

/// A running `mel`.
struct Mel {
    bands: bool,
    preview: Option<Preview>,
}

/// Sums of the frames of one 100 ms.
struct Preview {
    bank: Bank,
    rate: i64,
    song: bool,
    tenth: i64,
    frames: u32,
    last_input: i64,
    /// Of the frame that came last, and of all.
    bands: [f32; PREVIEW_BANDS],
    sums: [f64; PREVIEW_BANDS],
}

/// Makes `mel` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    // The periodic Hann window has a mean square of 3/8; both halves of the spectrum hold the signal's power.
    let mean_square = 2.0 / (f64::from(SPEC.size) * f64::from(SPEC.size) * 0.375);
    Box::new(Mel {
        bands: request.wants(""),
        preview: request.wants(PREVIEW).then(|| Preview {
            bank: Bank::new(PREVIEW_BANDS, SPEC.rate, SPEC.size, |_| mean_square),
            rate: i64::from(stream.rate),
            song: stream.song,
            tenth: i64::MIN,
            frames: 0,
            last_input: 0,
            bands: [0.0; PREVIEW_BANDS],
            sums: [0.0; PREVIEW_BANDS],
        }),
    })
}

impl Algorithm for Mel {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), mel: self.bands, ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        if self.bands && sink.wants_frames() {
            sink.frame(spectrum.index, spectrum.last_input, spectrum.mel);
        }
        if let Some(preview) = &mut self.preview {
            preview.add(spectrum, sink);
        }
    }

    fn finish(&mut self, end: i64, sink: &mut Sink) {
        if let Some(preview) = self.preview.as_mut().filter(|preview| preview.song) {
            preview.close_song(end, sink);
        }
    }
}

impl Preview {
    /// Adds a frame. Frames of the lead-in count for the row that they share with the body.
    fn add(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        let tenth = self.tenth_of(spectrum.index, spectrum.last_input);
        if tenth != self.tenth {
            (self.tenth, self.frames, self.sums) = (tenth, 0, [0.0; PREVIEW_BANDS]);
        }
        let (bank, bands, sums) = (&self.bank, &mut self.bands, &mut self.sums);
        widest(
            #[inline(always)]
            || {
                bank.apply(spectrum.power, bands);
                sums.iter_mut().zip(bands).for_each(|(sum, power)| *sum += f64::from(*power));
            },
        );
        self.frames += 1;
        self.last_input = spectrum.last_input;
        let next_input =
            spectrum.last_input + self.source_sample(spectrum.index + 1) - self.source_sample(spectrum.index);
        if self.tenth_of(spectrum.index + 1, next_input) > tenth {
            self.close(sink);
        }
    }

    /// The tenth of a second that a frame belongs to.
    fn tenth_of(&self, index: i64, last_input: i64) -> i64 {
        if self.song {
            return (10 * index * i64::from(SPEC.hop)).div_euclid(i64::from(SPEC.rate));
        }
        (10 * i128::from(last_input)).div_euclid(i128::from(self.rate)) as i64
    }

    /// Number of the source sample at a sensor frame's last resampled sample, as the resampler counts.
    fn source_sample(&self, index: i64) -> i64 {
        let resampled = i128::from(index) * i128::from(SPEC.hop) - 1;
        (resampled * i128::from(self.rate)).div_euclid(i128::from(SPEC.rate)) as i64
    }

    fn close(&mut self, sink: &mut Sink) {
        let frames = f64::from(std::mem::take(&mut self.frames));
        let row = self.sums.map(|sum| {
            // A cast of floating point saturates: what lies outside becomes 0 or 255.
            ((decibels(sum / frames) - PREVIEW_FLOOR_DB) * PREVIEW_STEPS_PER_DB).round() as u8
        });
        sink.preview(self.tenth, self.last_input, &row);
    }

    /// The last row of a song has what is left. A frame centred just at the end belongs to no row.
    fn close_song(&mut self, end: i64, sink: &mut Sink) {
        if self.frames > 0 && self.tenth * self.rate < 10 * end {
            self.close(sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{FRAMES, Values, decode_block, decode_frames, layer};
    use crate::session::{Analysis, Item, Session};

    fn analyse(output: &str, rate: u32, song: bool, first: i64, samples: &[f32]) -> Analysis {
        let item = Item {
            algorithm: "mel".into(),
            outputs: vec![output.into()],
            frames: output.is_empty(),
            ..Item::default()
        };
        let stream =
            Stream { rate, channels: 1, first_sample: first, first_body_sample: first, song, calibration_db: None };
        let mut session = Session::new(&[item], &stream).unwrap();
        session.push(&[samples]);
        session.finish()
    }

    fn rows(analysis: &Analysis) -> Vec<(i64, [u8; PREVIEW_BANDS])> {
        let preview = layer("mel", PREVIEW).unwrap();
        let mut rows = Vec::new();
        for block in &analysis.blocks {
            for partial in decode_block(preview, block.minute, &block.data).unwrap() {
                let Values::Preview(tenths) = partial.values else { panic!("the preview holds rows") };
                let found = tenths.iter().enumerate().filter_map(|(tenth, row)| Some((tenth as i64, (*row)?)));
                rows.extend(found.map(|(tenth, row)| (partial.second * 10 + tenth, row)));
            }
        }
        rows
    }

    fn sine(rate: u32, frequency: f64, samples: usize) -> Vec<f32> {
        let angle = std::f64::consts::TAU * frequency / f64::from(rate);
        (0..samples).map(|n| (angle * n as f64).sin() as f32).collect()
    }

    #[test]
    fn the_preview_holds_the_power_of_a_sine_in_its_bands() {
        for (rate, frequency) in [(22_050, 1_000.0), (48_000, 440.0), (44_100, 7_000.0)] {
            let samples = sine(rate, frequency, rate as usize);
            let rows = rows(&analyse(PREVIEW, rate, true, 0, &samples));
            assert!(rows.iter().map(|(place, _)| *place).eq(0..10), "ten rows a second");
            for (place, row) in &rows[1..9] {
                let power = |byte: u8| 10f64.powf((f64::from(byte) / 2.0 - 120.0) / 10.0);
                let total: f64 = row.iter().map(|byte| power(*byte)).sum();
                assert!((total - 0.5).abs() < 0.03, "{frequency} Hz, row {place}: {total}");
                let loudest = (0..PREVIEW_BANDS).max_by_key(|band| row[*band]).unwrap();
                let centre: f64 = PREVIEW_CENTRES[loudest].parse().unwrap();
                assert!((centre / frequency).log2().abs() < 0.1, "{frequency} Hz is loudest at {centre} Hz");
            }
        }
    }

    #[test]
    fn a_song_has_a_row_for_every_tenth_that_it_reaches() {
        for (samples, tenths) in [(22_050, 10), (22_051, 11), (27_209, 13), (2_205, 1), (100, 1)] {
            let rows = rows(&analyse(PREVIEW, 22_050, true, 0, &vec![0.1; samples]));
            // A song that reaches only a little into a tenth may have no frame there.
            let count = rows.len() as i64;
            assert!(count == tenths || count == tenths - 1 && samples % 2_205 < 512, "{samples}: {count}");
            assert!(rows.iter().map(|(place, _)| *place).eq(0..count));
        }
    }

    #[test]
    fn silence_is_byte_0_and_overload_byte_255() {
        let silent = rows(&analyse(PREVIEW, 22_050, true, 0, &[0.0; 22_050]));
        assert!(silent.iter().all(|(_, row)| row.iter().all(|byte| *byte == 0)));
        let loud: Vec<f32> = sine(22_050, 1_000.0, 22_050).iter().map(|sample| sample * 1e6).collect();
        assert!(rows(&analyse(PREVIEW, 22_050, true, 0, &loud))[5].1.contains(&255));
    }

    #[test]
    fn without_a_lead_in_three_frames_read_low() {
        // 512 x a multiple: the first frame covers a whole hop, the most that it can.
        let first = 1_777_593_600 * 22_050 / 512 * 512;
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        let mut bias = [0.0; 4];
        let rounds = 50;
        for _ in 0..rounds {
            let samples: Vec<f32> = (0..20_000).map(|_| noise()).collect();
            let analysis = analyse("", 22_050, false, first, &samples);
            let blocks = analysis.blocks.iter().filter(|block| block.layer == FRAMES);
            let powers: Vec<f64> = blocks
                .flat_map(|block| decode_frames(&DESCRIPTOR, block.minute, &block.data).unwrap())
                .map(|frame| frame.values[64..].iter().map(|value| 10f64.powf(f64::from(*value) / 10.0)).sum())
                .collect();
            let steady = powers[10..30].iter().sum::<f64>() / 20.0;
            bias.iter_mut().zip(&powers).for_each(|(sum, power)| *sum += power / steady / f64::from(rounds));
        }
        let decibels = bias.map(|ratio| 10.0 * ratio.log10());
        let expected = [-14.2, -3.0, -0.17, 0.0];
        assert!(decibels.iter().zip(expected).all(|(found, told)| (found - told).abs() < 0.3), "{decibels:?}");
    }
}
