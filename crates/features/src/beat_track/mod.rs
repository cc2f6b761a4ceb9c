//! Tempo and beats of songs by librosa's definition.

mod beats;
mod tempo;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Song, Stream};
use crate::descriptor::{Descriptor, Kind, Output};
use crate::mel::{BANDS, TOO_LONG};
use crate::onset::{instant, strengths};
use crate::registry::Request;
use crate::session::{Sink, SummaryValue};

const BEAT: &str = "beat";
const TEMPO: &str = "tempo";

/// The facts about `beat_track`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "beat_track",
    version: 1,
    family: "rhythm",
    title: "Tempo and beats of a song as librosa finds them",
    about: "For songs of up to 20 minutes; beside `rhythm`, for who compares with librosa's numbers. The strength e(k) of frame k (every 23.2 ms, \
            centred) is the median over the 128 bands of `mel` of what each rose by in dB from frame k - 3 to k - 2, falls counting as 0, \
            where every band is at least 80 dB below the loudest band of any frame of the song (`top_db`); e(0) to e(2) are 0. Tempo: e from 172 \
            frames before to 171 after each frame, under a periodic Hann window of 344 (8 s), is multiplied with itself p frames later and summed, \
            over the same sum for p = 0; beyond both ends e goes to 0 along a line of 172 frames, and where e is 0 in the window so \
            are the sums. a(p) is the mean of that over all frames. The period is the p from 9 to 343 for which ln(1 + 1e6 a(p)) - (log2(t / 120))^2 / 2, t = \
            2583.98 / p beats a minute, is largest, the least of several: a prior around 120 with a standard deviation of an octave. Beats (D. Ellis, 2007): \
            s(k) is e over its standard deviation (of n - 1), smoothed by weights exp(-(32 d / p)^2 / 2) of frames d = -p to p beside \
            it. The total C(k) is s(k), plus, from k = p / 2 (rounded half to even) on, the largest C(k - d) - 100 (ln d - ln p)^2 over d \
            from that to 2 p within the song (the least d of several), which is the beat before k; before the first s(k) of \
            at least 0.01 of the largest, frames have none before them. The last beat is the last local maximum of C (above the frame before, \
            not below the next) that reaches half the median of all of them. Beats at the start and at the end are left out as long as s \
            there is at most half the root of the mean square of s at beats, each with half of the beats before and after it added (with half \
            of the last and 0 behind it, which count in the mean). A beat is told at k x 512 / 22,050 s and lasts a hop. A song in which nothing rises in half of the \
            bands at once has no tempo and no beats; one that is too long neither, for that reason.",
    outputs: &[
        Output {
            name: BEAT,
            title: "A beat; the value is the tempo of the song",
            kind: Kind::Annotation { minimum: 0 },
            unit: "BPM",
            labels: &[],
            default: false,
        },
        Output {
            name: TEMPO,
            title: "Beats a minute, by autocorrelation and a prior around 120",
            kind: Kind::Summary,
            unit: "BPM",
            labels: &[],
            default: false,
        },
    ],
    parameters: &[],
    reference: "librosa 0.11: beat.beat_track(y=y, sr=22050, hop_length=512)",
};

/// A running `beat_track`.
struct BeatTrack {
    rate: u32,
    song: bool,
    wants: [bool; 2],
}

/// Makes `beat_track` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    let wants = [BEAT, TEMPO].map(|output| request.wants(output));
    Box::new(BeatTrack { rate: stream.rate, song: stream.song && wants.contains(&true), wants })
}

impl Algorithm for BeatTrack {
    fn needs(&self) -> Needs {
        if self.song { Needs { stft: Some(SPEC), mel: true, song: true } } else { Needs::default() }
    }

    fn song(&mut self, song: &Song, sink: &mut Sink) {
        let [wants_beats, wants_tempo] = self.wants;
        let found = strengths(song, median).ok_or(TOO_LONG).and_then(|strengths| {
            let period = tempo::period(&strengths).ok_or("nothing begins in it")?;
            Ok((period, strengths))
        });
        let (period, strengths) = match found {
            Ok(found) => found,
            Err(reason) => {
                if wants_tempo {
                    sink.summary(TEMPO, SummaryValue::Missing(reason.to_owned()));
                }
                return;
            }
        };
        let tempo = tempo::of_period(period);
        if wants_tempo {
            sink.summary(TEMPO, SummaryValue::Number(tempo));
        }
        if wants_beats {
            for beat in beats::track(&strengths, period) {
                sink.annotation(BEAT, "", instant(beat as i64, self.rate), Some(tempo as f32), None);
            }
        }
    }
}

/// The median of all bands. Of most frames it is 0, since half of the bands or more fall.
fn median(rises: &mut [f32; BANDS]) -> f32 {
    let rising = rises.iter().filter(|rise| **rise > 0.0).count();
    if rising < BANDS / 2 {
        return 0.0;
    }
    let (below, upper, _) = rises.select_nth_unstable_by(BANDS / 2, f32::total_cmp);
    let lower = below.iter().copied().fold(0.0, f32::max);
    0.5 * (lower + *upper)
}

#[cfg(test)]
mod tests;
