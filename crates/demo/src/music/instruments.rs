//! Instruments, and the score that they are written into.

use std::f32::consts::TAU;

use super::MUSIC_RATE;
use crate::Random;

/// Frames per second.
const RATE: f32 = MUSIC_RATE as f32;

/// Where and how loud a note is.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// When it begins, in seconds.
    pub at: f32,
    /// How long it is held, in seconds.
    pub seconds: f32,
    /// Its frequency.
    pub hertz: f32,
    /// Its peak, about.
    pub gain: f32,
    /// From -1, left, to 1.
    pub pan: f32,
}

/// What is played when, in two channels. Nothing sounds before it is [performed](Score::perform), block by block: a whole piece
/// would take 20 MB, and an allocator that has seen such a block keeps as much.
pub struct Score {
    parts: Vec<Part>,
    frames: usize,
    notes: i64,
}

/// Adds the next frames of something to what is there.
type Play = Box<dyn FnMut(&mut [f32])>;

/// Something that sounds from a frame on, up to another one.
struct Part {
    from: usize,
    to: usize,
    play: Play,
}

/// A score that is being played.
pub struct Performance {
    /// What has not begun, the next one last.
    waiting: Vec<Part>,
    playing: Vec<Part>,
    at: usize,
    frames: usize,
}

/// The frequency of a note as MIDI counts them.
pub fn hertz(number: f32) -> f32 {
    440.0 * 2.0_f32.powf((number - 69.0) / 12.0)
}

/// An oscillator that is a recurrence: it costs a complex multiplication a sample.
pub struct Turning {
    state: (f32, f32),
    step: (f32, f32),
}

impl Turning {
    pub fn new(hertz: f32) -> Self {
        let (sine, cosine) = (TAU * hertz / RATE).sin_cos();
        Self { state: (1.0, 0.0), step: (cosine, sine) }
    }

    /// The next sample of a sine.
    pub fn next(&mut self) -> f32 {
        let ((real, imaginary), (cosine, sine)) = (self.state, self.step);
        self.state = (real * cosine - imaginary * sine, real * sine + imaginary * cosine);
        imaginary
    }
}

/// The factor by which something falls each frame that falls by a factor of e in so many seconds.
fn fall(seconds: f32) -> f32 {
    (-1.0 / (seconds * RATE)).exp()
}

impl Score {
    /// For a piece of so many frames.
    pub fn new(frames: usize) -> Self {
        Self { parts: Vec::new(), frames, notes: 0 }
    }

    /// Adds `seconds` of a sound from `at` on; what lies beyond the end is not heard.
    pub fn add(&mut self, at: f32, seconds: f32, pan: f32, mut next: impl FnMut() -> f32 + 'static) {
        let from = (at.max(0.0) * RATE) as usize;
        let to = (from + (seconds * RATE) as usize).min(self.frames);
        let (left, right) = ((0.5 - pan * 0.5).sqrt(), (0.5 + pan * 0.5).sqrt());
        let play = Box::new(move |frames: &mut [f32]| {
            for frame in frames.chunks_exact_mut(2) {
                let sample = next();
                frame[0] += left * sample;
                frame[1] += right * sample;
            }
        });
        if from < to {
            self.parts.push(Part { from, to, play });
        }
    }

    /// From the beginning.
    pub fn perform(mut self) -> Performance {
        self.parts.sort_by_key(|part| std::cmp::Reverse(part.from));
        Performance { waiting: self.parts, playing: Vec::new(), at: 0, frames: self.frames }
    }

    /// A different chance for each note, and the same in each performance.
    fn chance(&mut self) -> Random {
        self.notes += 1;
        Random::about(500, self.notes)
    }

    /// A plucked string (Karplus and Strong, "Digital synthesis of plucked-string and drum timbres", 1983), tuned by a
    /// fractional delay.
    pub fn pluck(&mut self, note: Note) {
        let mut random = self.chance();
        // The mean of two neighbours delays by half a sample.
        let period = RATE / note.hertz - 0.5;
        let (length, share) = (period as usize, period.fract());
        let mut softened = 0.0;
        let mut line: Vec<f32> = (0..=length + 1)
            .map(|_| {
                softened += 0.5 * (random.between(-1.0, 1.0) - softened);
                softened
            })
            .collect();
        let (mut index, mut previous) = (0, 0.0);
        let (mut gain, release) = (note.gain * 1.6, fall(note.seconds.max(0.2)));
        let count = line.len();
        self.add(note.at, note.seconds * 3.0 + 0.4, note.pan, move || {
            let tap = |back: usize| line[(index + count - back) % count];
            let (near, far) = (tap(length), tap(length + 1));
            let delayed = near + (far - near) * share;
            let value = 0.998 * 0.5 * (delayed + previous);
            previous = delayed;
            line[index] = value;
            index = (index + 1) % count;
            gain *= release;
            value * gain
        });
    }

    /// A bell-like tone: one sine bends another, less and less (Chowning, 1973).
    pub fn bell(&mut self, note: Note) {
        let mut bender = Turning::new(note.hertz * 3.01);
        let (mut bend, bend_fall) = (0.9, fall(0.12));
        let (mut gain, gain_fall) = (note.gain, fall(note.seconds * 0.7));
        let (mut phase, turn) = (0.0_f32, note.hertz / RATE);
        let mut rise = 0.0_f32;
        self.add(note.at, note.seconds * 4.0, note.pan, move || {
            rise = (rise + 1.0 / (0.004 * RATE)).min(1.0);
            let value = sine(phase + 0.16 * bend * bender.next());
            phase = (phase + turn).fract();
            bend *= bend_fall;
            gain *= gain_fall;
            value * gain * rise
        });
    }

    /// A held chord tone of three voices that are never quite in tune.
    pub fn pad(&mut self, note: Note) {
        for (detune, side) in [(0.997, -0.7), (1.0, 0.0), (1.003_4, 0.7)] {
            let (mut phase, turn) = (0.37 * detune, note.hertz * detune / RATE);
            let mut soft = 0.0;
            let frames = note.seconds * RATE;
            let mut played = 0.0;
            let share = (note.hertz * 5.0 / RATE * TAU).min(0.5);
            self.add(note.at, note.seconds, (note.pan + side).clamp(-1.0, 1.0), move || {
                let edge = (played / (0.35 * RATE)).min(1.0) * ((frames - played) / (0.4 * RATE)).clamp(0.0, 1.0);
                played += 1.0;
                phase = (phase + turn).fract();
                soft += share * (2.0 * phase - 1.0 - soft);
                soft * edge * note.gain * 0.4
            });
        }
    }

    /// A round bass.
    pub fn bass(&mut self, note: Note) {
        let (mut base, mut octave) = (Turning::new(note.hertz), Turning::new(note.hertz * 2.0));
        let frames = note.seconds * RATE;
        let (mut played, mut bright, fades) = (0.0, 0.5, fall(0.25));
        self.add(note.at, note.seconds, note.pan, move || {
            let edge = (played / (0.006 * RATE)).min(1.0) * ((frames - played) / (0.03 * RATE)).clamp(0.0, 1.0);
            played += 1.0;
            bright *= fades;
            let value = base.next() + bright * octave.next();
            (value * 1.4).clamp(-1.2, 1.2) * note.gain * edge
        });
    }

    /// A drum with a skin: a tone that falls from `hertz` times `drop` to `hertz`.
    pub fn drum(&mut self, note: Note, drop: f32) {
        let (mut phase, mut over) = (0.0_f32, drop - 1.0);
        let (over_fall, gain_fall) = (fall(0.028), fall(note.seconds));
        let mut gain = note.gain;
        self.add(note.at, note.seconds * 5.0, note.pan, move || {
            let value = sine(phase);
            phase = (phase + note.hertz * (1.0 + over) / RATE).fract();
            over *= over_fall;
            gain *= gain_fall;
            value * gain
        });
    }

    /// Noise above `note.hertz` that dies away: hats, shakers, the snare's wires.
    pub fn spray(&mut self, note: Note) {
        let mut random = self.chance();
        let share = 1.0 - (-TAU * note.hertz / RATE).exp();
        let (mut low, mut gain, gain_fall) = (0.0, note.gain, fall(note.seconds));
        self.add(note.at, note.seconds * 6.0, note.pan, move || {
            let white = random.between(-1.0, 1.0);
            low += share * (white - low);
            gain *= gain_fall;
            (white - low) * gain
        });
    }
}

impl Performance {
    /// Plays on: fills as much of `block` as is left of the piece; gives how many samples that is.
    pub fn next(&mut self, block: &mut [f32]) -> usize {
        let frames = (block.len() / 2).min(self.frames - self.at);
        let (begin, end) = (self.at, self.at + frames);
        let block = &mut block[..2 * frames];
        block.fill(0.0);
        while let Some(part) = self.waiting.pop_if(|part| part.from < end) {
            self.playing.push(part);
        }
        for part in &mut self.playing {
            let (from, to) = (part.from.max(begin) - begin, part.to.min(end) - begin);
            (part.play)(&mut block[2 * from..2 * to]);
        }
        self.playing.retain(|part| part.to > end);
        self.at = end;
        2 * frames
    }
}

/// The sine of a phase in turns, by a parabola and its correction: within 0.1 %.
fn sine(turns: f32) -> f32 {
    let phase = turns - turns.round();
    let rough = phase * (8.0 - 16.0 * phase.abs());
    rough * (0.775 + 0.225 * rough.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_are_near_enough() {
        for step in -300..300 {
            let turns = step as f32 / 100.0;
            assert!((sine(turns) - (turns * TAU).sin()).abs() < 0.002, "{turns}");
        }
        let mut turning = Turning::new(440.0);
        for frame in 0..44_100 {
            let expected = (std::f64::consts::TAU * 440.0 * f64::from(frame) / f64::from(MUSIC_RATE)).sin();
            assert!((f64::from(turning.next()) - expected).abs() < 0.02, "{frame}");
        }
    }

    #[test]
    fn a_plucked_string_is_in_tune() {
        let mut score = Score::new(MUSIC_RATE as usize);
        score.pluck(Note { at: 0.0, seconds: 1.0, hertz: 220.0, gain: 0.5, pan: 0.0 });
        let mut samples = vec![0.0; 2 * MUSIC_RATE as usize];
        assert_eq!(score.perform().next(&mut samples), samples.len());
        let left: Vec<f64> =
            samples.chunks_exact(2).map(|frame| f64::from(frame[0])).skip(4_000).take(16_000).collect();
        let alike = |lag: usize| left.iter().zip(&left[lag..]).map(|(one, other)| one * other).sum::<f64>();
        let best = (150..260).max_by(|one, other| alike(*one).total_cmp(&alike(*other))).unwrap();
        assert!((f64::from(MUSIC_RATE) / best as f64 - 220.0).abs() < 1.5, "{best}");
    }

    #[test]
    fn a_performance_is_the_same_in_blocks_of_any_size() {
        let perform = |size: usize| {
            let mut score = Score::new(2_000);
            for (index, at) in [0.0, 0.01, 0.011, 0.03, 0.09].into_iter().enumerate() {
                score.bell(Note { at, seconds: 0.005, hertz: 300.0 + index as f32, gain: 0.1, pan: 0.3 });
            }
            let mut performance = score.perform();
            let (mut block, mut whole) = (vec![1.0; size], Vec::new());
            loop {
                let count = performance.next(&mut block);
                if count == 0 {
                    return whole;
                }
                whole.extend_from_slice(&block[..count]);
            }
        };
        let whole = perform(4_000);
        assert_eq!(whole.len(), 4_000);
        assert!(whole[882..].iter().any(|sample| *sample != 0.0));
        for size in [2, 14, 882, 6_000] {
            assert_eq!(perform(size), whole, "blocks of {size}");
        }
    }
}
