//! Tempo and beats of songs.

mod choice;
mod curves;
mod evidence;
mod pulse;
mod weights;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Kind, Output};
use crate::registry::Request;
use crate::session::{Sink, SummaryValue};
use choice::{Candidate, SAME_TEMPO};
use curves::Curves;
use pulse::FRAMES_PER_SECOND;

const TEMPO: &str = "tempo";
const CONFIDENCE: &str = "confidence";
const ALTERNATIVES: &str = "alternatives";
const BEAT: &str = "beat";

/// Frames of two hours: what is longer is no piece of music with one tempo.
const LONGEST: usize = 2 * 3_600 * SPEC.rate as usize / SPEC.hop as usize;

/// By how many seconds beats are found late, measured on the half for tuning of `evaluation/`.
const LATENESS: f64 = 0.008;

/// Tempos that are told beside the likeliest, and how likely they must be.
const MOST_ALTERNATIVES: usize = 3;
const LEAST_PROBABILITY: f64 = 0.005;

/// The facts about `rhythm`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "rhythm",
    version: 2,
    family: "rhythm",
    title: "Tempo and beats of a song",
    about: "For songs; a sensor has no tempo yet. Per frame of `mel` (1,025 bins, 128 bands, every 23 ms, centred) five curves are kept: the mean \
            rise in dB since the frame before (falls count as 0; what lies 60 dB below the loudest band so far is cut) of the bands up to 170, \
            480, 1,500 and 11,025 Hz, and the change of harmony: 1 less the cosine of the twelve frames before and from the frame \
            on, of 60 semitones from 110 Hz, power compressed as ln(1 + p / (0.0001 strongest)). What of each curve exceeds its \
            mean over two seconds, by its standard deviation, is added with weights 3, 1, 1, 1 and 2 and treated so once more. The \
            salience of a period is the mean of the autocorrelation at one to four times it, weighted 1, 0.8, 0.6, 0.5. Its \
            seven highest peaks from 0.27 to 1.5 s, and what halving, doubling, thirds and halves and a half make of the best \
            three, are candidates, up to twelve. Beats are fitted to each by dynamic programming (Ellis 2007, tightness 100), and from these twice more: about the \
            mean distance of the eight beats around (tightness 200), which follows a swaying tempo; and, in the sum of the four rises alone, about the median \
            distance of eight beats (tightness 1,000), which keeps to one. The middles between beats are the same period in its other phase. Of each of these four 121 numbers \
            are taken, in this order. o, the octaves of the period from 0.55 s, o^2, |o|^3; the salience over the largest, the phase (0 or 1), the deviation of \
            distances of beats over their median. Six of each of five curves (the sum of the four rises, the lowest, the second, the highest range, the change of \
            harmony over its mean), of the largest value within a frame (harmony: two), averaged over places, as ln(0.1 + v): at beats, half-way, at thirds, at \
            quarters; |every second beat less the others|; the strongest of every third less the next. With l, m, h, c, every second less the others with its sign, \
            of lowest, second, highest and harmony: -lm, -lh, -mh, lc. The autocorrelation of the curve of beats, of the lowest range and of the change of harmony \
            at 1/4, 1/3, 1/2, 2/3, 3/4, 1, 4/3, 3/2, 2, 3, 4, 6 and 8 periods. o times the salience and times these 39. Whether the tempo is the steady one (0 or 1), and \
            that times the phase. A softmax of their sum, weighted as in rhythm/weights.rs, gives probabilities. The beats are those whose probability is largest \
            together with that of all candidates within 4 % of their tempo; confidence is that of the tempo. Version 2: version 1 told fast loops and game music at another multiple \
            of their tempo. There is no tempo, for a reason, if nothing begins, if \
            there are fewer than five beats, if the best salience is below what noise of that length reaches (0.27 / sqrt(s) + 4.5 / s^2 for s seconds), and if the song is longer than two hours. Beats are \
            told 8 ms before the frame in which they were found: so much later are onsets seen.",
    outputs: &[
        Output {
            name: TEMPO,
            title: "Beats a minute: 60 s over the median of the mean distance of four beats",
            kind: Kind::Summary,
            unit: "BPM",
            labels: &[],
            default: true,
        },
        Output {
            name: CONFIDENCE,
            title: "How likely this is the tempo, and not a half, a double or another, 0 to 1",
            kind: Kind::Summary,
            unit: "1",
            labels: &[],
            default: true,
        },
        Output {
            name: ALTERNATIVES,
            title: "Other tempos with how likely they are, such as \"61.2 0.25, 183.5 0.04\"; empty if none is likely",
            kind: Kind::Summary,
            unit: "BPM",
            labels: &[],
            default: true,
        },
        Output {
            name: BEAT,
            title: "A beat; the value is the tempo of the eight beats around it, the confidence that of all beats",
            kind: Kind::Annotation { minimum: 0 },
            unit: "BPM",
            labels: &[],
            default: true,
        },
    ],
    parameters: &[],
    reference: "Own definition; beats by dynamic programming: D. Ellis, \"Beat Tracking by Dynamic Programming\", 2007. \
                Compared with Essentia, librosa and aubio on known truth in docs/accuracy.md",
};

/// A running `rhythm`.
struct Rhythm {
    rate: f64,
    /// `None` for sensors, and once a song is too long.
    curves: Option<Curves>,
    song: bool,
    wants_beats: bool,
    wants: [bool; 3],
}

/// Makes `rhythm` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Rhythm {
        rate: f64::from(stream.rate),
        curves: stream.song.then(Curves::new),
        song: stream.song,
        wants_beats: request.wants(BEAT),
        wants: [TEMPO, CONFIDENCE, ALTERNATIVES].map(|output| request.wants(output)),
    })
}

impl Algorithm for Rhythm {
    fn needs(&self) -> Needs {
        if self.song { Needs { stft: Some(SPEC), mel: true, ..Needs::default() } } else { Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, _sink: &mut Sink) {
        if let Some(curves) = &mut self.curves {
            curves.push(spectrum);
            if curves.len() > LONGEST {
                self.curves = None;
            }
        }
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        if !self.song {
            return;
        }
        match self.curves.take().map_or(Err("the song is longer than two hours"), |curves| find(&curves)) {
            Ok(candidates) => self.tell(&candidates, sink),
            Err(reason) => self.summarize(sink, |_| SummaryValue::Missing(reason.to_owned())),
        }
    }
}

/// The candidates of a song, the likeliest first, or why there are none.
fn find(curves: &Curves) -> Result<Vec<Candidate>, &'static str> {
    if curves.rises.iter().flatten().all(|rise| *rise == 0.0) {
        return Err("nothing begins in it");
    }
    let (candidates, salience) = choice::candidates(curves);
    if candidates.is_empty() {
        return Err("it has fewer than five beats");
    }
    if salience < least_salience(curves.len()) {
        return Err("it has no steady pulse");
    }
    Ok(candidates)
}

/// The salience that chance alone reaches in a song of so many frames, just above what noise of 5 s to 2 min gave.
fn least_salience(frames: usize) -> f64 {
    let seconds = frames as f64 / FRAMES_PER_SECOND;
    0.27 / seconds.sqrt() + 4.5 / seconds.powi(2)
}

impl Rhythm {
    fn tell(&self, candidates: &[Candidate], sink: &mut Sink) {
        let chosen = &candidates[0];
        let tempos = tempos(candidates);
        self.summarize(sink, |output| match output {
            TEMPO => SummaryValue::Number(chosen.tempo),
            CONFIDENCE => SummaryValue::Number(tempos[0].1),
            _ => {
                let others = tempos[1..].iter().map(|(tempo, probability)| format!("{tempo:.1} {probability:.2}"));
                SummaryValue::Text(others.collect::<Vec<_>>().join(", "))
            }
        });
        if !self.wants_beats {
            return;
        }
        let last = chosen.beats.len() - 1;
        for (number, beat) in chosen.beats.iter().enumerate() {
            let (from, to) = (number.saturating_sub(4), last.min(number + 4));
            let distance = (chosen.beats[to] - chosen.beats[from]) / (to - from) as f64;
            let start = (((beat / FRAMES_PER_SECOND) - LATENESS) * self.rate).round().max(0.0) as i64;
            let length = (self.rate / FRAMES_PER_SECOND).round() as i64;
            let tempo = (60.0 * FRAMES_PER_SECOND / distance) as f32;
            sink.annotation(BEAT, "", start..start + length, Some(tempo), Some(chosen.probability as f32));
        }
    }

    fn summarize(&self, sink: &mut Sink, value: impl Fn(&'static str) -> SummaryValue) {
        for (output, _) in [TEMPO, CONFIDENCE, ALTERNATIVES].into_iter().zip(self.wants).filter(|(_, wanted)| *wanted) {
            sink.summary(output, value(output));
        }
    }
}

/// Tempos with how likely each is: that of the likeliest beats first, then the likeliest others. Candidates within 4 % of one
/// another are one tempo, in two phases or found from two periods.
fn tempos(candidates: &[Candidate]) -> Vec<(f64, f64)> {
    let mut found: Vec<(f64, f64)> = Vec::new();
    for candidate in candidates {
        let same = found.iter_mut().find(|(tempo, _)| (candidate.tempo / *tempo - 1.0).abs() <= SAME_TEMPO);
        match same {
            Some((_, probability)) => *probability += candidate.probability,
            None => found.push((candidate.tempo, candidate.probability)),
        }
    }
    found[1..].sort_by(|a, b| b.1.total_cmp(&a.1));
    let likely = found.iter().skip(1).take_while(|(_, probability)| *probability >= LEAST_PROBABILITY).count();
    found.truncate(1 + likely.min(MOST_ALTERNATIVES));
    found
}

#[cfg(test)]
mod tests;
