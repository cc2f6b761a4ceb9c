//! What the shape of a spectrum says: where its middle is, how wide, how flat, how peaked, how fast it changes.

mod contrast;
mod shape;

use antiphon_audio::vector::widest;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output};
use crate::registry::Request;
use crate::session::Sink;
use contrast::Contrast;
use shape::Shape;

/// Bins of a spectrum, and Hz from one to the next.
const BINS: usize = SPEC.size as usize / 2 + 1;
const HZ_PER_BIN: f32 = SPEC.rate as f32 / SPEC.size as f32;

const MAIN: &str = "main";
const DETAIL: &str = "detail";
const CONTRAST: &str = "contrast";
const SCALARS: usize = 7;

/// The facts about `spectral`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "spectral",
    version: 1,
    family: "spectral",
    title: "Shape of the spectrum: centroid, bandwidth, roll-off, flatness, flux, crest, entropy, contrast",
    about: "The mono mix-down (mean of channels) resampled to 22,050 Hz; spectra of 2,048 samples (periodic Hann) \
            every 512, with magnitudes m(k) = |X(k)| in the bins k = 0 to 1,024 at f(k) = 10.77 k Hz. Centroid: the \
            mean of f weighted by m. Bandwidth: the root of the mean of (f - centroid)^2 weighted by m. Roll-off: f of \
            the first bin up to which the sum of m is at least 0.85 of its whole. Flatness: the geometric over the \
            arithmetic mean of max(m^2, 1e-10), 1 for equal power in all bins, 0.56 on average for white noise, near 0 \
            for tones. Flux: the root of the sum of squares of the change of m since the frame before, with m / 512 so \
            that a full-scale sine peaks at 1; before the first frame there is silence. Crest: the largest m over the \
            mean of m. Entropy: that of m divided by its sum, in bits, 0 for one bin to 10.0 for 1,025 equal ones. \
            Contrast: in the bands 0 to 200, 200 to 400, ... 3,200 to 6,400 and 6,400 to 11,025 Hz the mean of the \
            largest 2 % of m over that of the smallest 2 % (at least one bin each), as 10 log10 of both, each at least \
            1e-3 (114 dB below a full-scale sine: resampling leaves as much). Of digital silence all are 0, but \
            flatness is 1. Calibration does not enter. For sensors a frame belongs to the instant of its last input \
            sample (93 ms of audio, and the resampler's reach of 3 ms). Songs are padded with zeros at both ends, \
            frames are centred. Without a lead-in a sensor's first three frames reach into zeros before the start: of \
            steady noise only flux is off, by -60, +5 and -12 % on average; a tone begins with a click, so that its \
            spectrum is wider in the first.",
    outputs: &[
        scalar("centroid", "Mean frequency, weighted by magnitude", "Hz", MAIN, true),
        scalar("bandwidth", "Spread about the centroid, weighted by magnitude", "Hz", MAIN, true),
        scalar("rolloff", "Frequency below which 85 % of the magnitude lies", "Hz", MAIN, true),
        scalar(
            "flatness",
            "Geometric over arithmetic mean of the power: white noise is 0.56, tones are near 0",
            "1",
            MAIN,
            true,
        ),
        scalar("flux", "Change of the magnitudes since the frame before", "1", MAIN, true),
        scalar("crest", "Largest over mean magnitude", "1", DETAIL, false),
        scalar("entropy", "Entropy of the magnitudes as shares of their sum", "bit", DETAIL, false),
        Output {
            name: CONTRAST,
            title: "Peaks over valleys in seven octave bands; labels are their lower ends in Hz",
            kind: Kind::frames(contrast::BANDS as u16, CONTRAST, Hop::of(&SPEC)),
            unit: "dB",
            labels: &["0", "200", "400", "800", "1600", "3200", "6400"],
            default: false,
        },
    ],
    parameters: &[],
    reference: "librosa 0.11: feature.spectral_centroid, spectral_bandwidth, spectral_rolloff, spectral_flatness and \
                spectral_contrast of S=abs(stft(y)) at sr=22050 with their defaults, but for contrast \
                power_to_db(amin=1e-3, top_db=None); Essentia 2.1: Flux of S/512 (norm L2), Crest and Entropy of S",
};

const fn scalar(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    layer: &'static str,
    default: bool,
) -> Output {
    let kind = Kind::frames(1, layer, Hop::of(&SPEC));
    Output { name, title, kind, unit, labels: &[], default }
}

/// A running `spectral`.
struct Spectral {
    shape: Shape,
    contrast: Option<Contrast>,
    values: [f32; SCALARS + contrast::BANDS],
}

/// Makes `spectral` run.
pub(crate) fn construct(request: &Request<'_>, _stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Spectral {
        shape: Shape::new(),
        contrast: request.wants_layer(CONTRAST).then(Contrast::new),
        values: [f32::NAN; SCALARS + contrast::BANDS],
    })
}

impl Algorithm for Spectral {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        if !sink.wants_frames() {
            return;
        }
        let (scalars, contrasts) = self.values.split_at_mut(SCALARS);
        widest(
            #[inline(always)]
            || self.shape.measure(spectrum.power, scalars),
        );
        if let Some(contrast) = &self.contrast {
            contrast.measure(self.shape.magnitudes(), contrasts);
        }
        sink.frame(spectrum.index, spectrum.last_input, &self.values);
    }
}

#[cfg(test)]
mod tests;
