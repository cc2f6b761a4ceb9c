//! Acoustic indices: what soundscape ecology says about a place by one number.

mod frame;
mod sums;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output, Series};
use crate::registry::Request;
use crate::session::{Sink, SummaryValue};
use frame::Frame;
use sums::Sums;

/// Seconds of a block.
const SECONDS: u32 = 5;
/// Samples of a block, of a frame, and between frames, at 22,050 a second.
const BLOCK: i64 = SECONDS as i64 * SPEC.rate as i64;
const SIZE: i64 = SPEC.size as i64;
const HOP: i64 = SPEC.hop as i64;

/// How many indices there are.
const INDICES: usize = 7;

/// The facts about `indices`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "indices",
    version: 1,
    family: "ecoacoustics",
    title: "Acoustic indices: ACI, ADI, BI, NDSI and entropies",
    about: "Each over blocks of 5 s on the clock's grid, and for songs also over the whole. Of the mono mix-down at 22,050 Hz: \
            frames of 2,048 samples every 512 that lie in the block as a whole, their mean removed, under a periodic Hann \
            window; P(k, t) is the power of bin k below half the rate (1,024 of them, 10.77 Hz apart) and A its root. No index \
            depends on the level. ACI: the sum over bins of sum |A(k, t + 1) - A(k, t)| / sum A(k, t). ADI: Shannon's entropy \
            (natural logarithm) of ten scores, each the share of what is between two multiples of 1 kHz (from the bin nearest to \
            the one to that nearest to the other) that reaches -50 dB of the largest A; it counts in steps of 0.002 dB. BI: the \
            mean over time of A in dB, from 2 to 8 kHz, less its smallest, summed and divided by 10.77 Hz. NDSI: \
            (b - a) / (b + a), where a is the mean P from 1 to 2 kHz and b the sum of those of the six bands of 1 kHz from 2 to \
            8 kHz. Ht: entropy, relative to the largest possible, of the squares of the largest absolute values of 512 \
            samples each. Hf: the same of the mean over time of P. H: Ht times Hf. Of a source slower than 22,050 Hz, ACI \
            and BI take only the bins below 0.45 of its rate; the others see nothing above half of it. Digital silence, and a constant, have \
            entropies of 1 and no other index; a block that was not heard as a whole (without a lead-in: the \
            first) has none, and a song shorter than two frames (0.12 s) has none. Mean, deviation and extremes over longer \
            times are those of the blocks.",
    outputs: &[
        output(ACI, "Acoustic complexity index", BANDS),
        output(ADI, "Acoustic diversity index, 0 to 10 kHz", BANDS),
        output(BI, "Bioacoustic index, 2 to 8 kHz", BANDS),
        output(
            NDSI,
            "Normalised difference soundscape index: -1 (all from 1 to 2 kHz) to 1 (all from 2 to 8 kHz)",
            BANDS,
        ),
        output(H, "Entropy: of time times of frequency, 0 to 1", ENTROPY),
        output(HT, "Entropy of the envelope, 0 to 1", ENTROPY),
        output(HF, "Entropy of the spectrum, 0 to 1", ENTROPY),
    ],
    parameters: &[],
    reference: "scikit-maad 1.5.2 on 22,050 Hz: S = sound.spectrogram(y, 22050, nperseg=2048, noverlap=1536); \
                features.acoustic_complexity_index(sqrt(S)), acoustic_diversity_index(sqrt(S), fn, fmin=0, fmax=10000, \
                bin_step=1000, dB_threshold=-50), bioacoustics_index(sqrt(S), fn, flim=(2000, 8000), R_compatible='soundecology'), soundscape_index(S, fn, \
                flim_bioPh=(2000, 7000), flim_antroPh=(1000, 1000), R_compatible=None), temporal_entropy(y), frequency_entropy(S)",
};

const ACI: &str = "aci";
const ADI: &str = "adi";
const BI: &str = "bi";
const NDSI: &str = "ndsi";
const H: &str = "h";
const HT: &str = "ht";
const HF: &str = "hf";

/// Layers: silence has entropies, but no other index.
const BANDS: &str = "bands";
const ENTROPY: &str = "entropy";

const fn output(name: &'static str, title: &'static str, layer: &'static str) -> Output {
    Output {
        name,
        title,
        kind: Kind::Series(Series { summary: true, ..Series::frames(1, layer, Hop { samples: SECONDS, rate: 1 }) }),
        unit: "1",
        labels: &[],
        default: true,
    }
}

/// A running `indices`.
struct Indices {
    frame: Frame,
    /// Samples from a frame's first to the sample at `index * hop`: songs are centred.
    before: i64,
    is_song: bool,
    /// The block that is open, and its sums; `None` where its start was not heard.
    block: Option<i64>,
    sums: Sums,
    /// Of all frames of a song, if a summary was asked for.
    whole: Option<Sums>,
    summaries: [bool; INDICES],
}

/// Makes `indices` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Indices {
        frame: Frame::new(),
        before: if stream.song { SIZE / 2 } else { SIZE },
        is_song: stream.song,
        block: None,
        sums: Sums::new(stream.rate),
        whole: stream.song.then(|| Sums::new(stream.rate)),
        summaries: [ACI, ADI, BI, NDSI, H, HT, HF].map(|output| request.wants(output)),
    })
}

impl Algorithm for Indices {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        if spectrum.inside != (0, SPEC.size as usize) {
            return;
        }
        self.frame.take(spectrum);
        if let Some(whole) = &mut self.whole {
            whole.add(&self.frame);
        }
        if !sink.wants_frames() {
            return;
        }
        let first = spectrum.index * HOP - self.before;
        let number = first.div_euclid(BLOCK);
        let (start, end) = (number * BLOCK, (number + 1) * BLOCK);
        if first - HOP < start {
            self.sums.clear();
            self.block = Some(number);
        }
        if self.block != Some(number) || first + SIZE > end {
            return;
        }
        self.sums.add(&self.frame);
        if first + HOP + SIZE > end {
            let index = if self.is_song { number } else { number + 1 };
            sink.frame(index, spectrum.last_input, &self.sums.indices().map(|value| value as f32));
            self.block = None;
        }
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        let Some(whole) = &mut self.whole else {
            return;
        };
        let indices = [ACI, ADI, BI, NDSI, H, HT, HF].into_iter().zip(whole.indices()).zip(self.summaries);
        for ((output, value), _) in indices.filter(|(_, wanted)| *wanted) {
            let missing = |reason: &str| SummaryValue::Missing(reason.to_owned());
            let value = match value {
                _ if whole.frames() < 2 => missing("the song is shorter than 0.12 s"),
                value if value.is_finite() => SummaryValue::Number(value),
                _ => missing("the song is digitally silent, or its rate does not reach the frequencies of the index"),
            };
            sink.summary(output, value);
        }
    }
}
