//! Instruments, and what they are mixed in.

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

/// Two channels of sound.
pub struct Mix {
    /// Interleaved.
    samples: Vec<f32>,
    notes: i64,
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

impl Mix {
    pub fn new(seconds: f32) -> Self {
        Self { samples: vec![0.0; (seconds * RATE) as usize * 2], notes: 0 }
    }

    /// Adds `seconds` of a sound from `at` on.
    pub fn add(&mut self, at: f32, seconds: f32, pan: f32, mut next: impl FnMut() -> f32) {
        let from = (at.max(0.0) * RATE) as usize * 2;
        let to = (from + (seconds * RATE) as usize * 2).min(self.samples.len());
        let (left, right) = ((0.5 - pan * 0.5).sqrt(), (0.5 + pan * 0.5).sqrt());
        let Some(samples) = self.samples.get_mut(from..to) else { return };
        for frame in samples.chunks_exact_mut(2) {
            let sample = next();
            frame[0] += left * sample;
            frame[1] += right * sample;
        }
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
        self.add(note.at, note.seconds * 3.0 + 0.4, note.pan, || {
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
        self.add(note.at, note.seconds * 4.0, note.pan, || {
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
            self.add(note.at, note.seconds, (note.pan + side).clamp(-1.0, 1.0), || {
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
        self.add(note.at, note.seconds, note.pan, || {
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
        self.add(note.at, note.seconds * 5.0, note.pan, || {
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
        self.add(note.at, note.seconds * 6.0, note.pan, || {
            let white = random.between(-1.0, 1.0);
            low += share * (white - low);
            gain *= gain_fall;
            (white - low) * gain
        });
    }

    /// The loudest becomes -1 dB of full scale, and the ends are faded.
    pub fn finish(self) -> Vec<i32> {
        let most = self.samples.iter().fold(1e-9_f32, |most, sample| most.max(sample.abs()));
        let (scale, length) = (32_767.0 * 0.891 / most, self.samples.len());
        let fade = (RATE * 0.8) as usize * 2;
        let mut index = 0;
        // The same memory becomes the integers.
        self.samples
            .into_iter()
            .map(|sample| {
                let edge = ((length - index - 1) as f32 / fade as f32).min(1.0);
                index += 1;
                (sample * scale * edge).round_ties_even() as i32
            })
            .collect()
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
        let mut mix = Mix::new(1.0);
        mix.pluck(Note { at: 0.0, seconds: 1.0, hertz: 220.0, gain: 0.5, pan: 0.0 });
        let samples = mix.finish();
        let left: Vec<f64> =
            samples.chunks_exact(2).map(|frame| f64::from(frame[0])).skip(4_000).take(16_000).collect();
        let alike = |lag: usize| left.iter().zip(&left[lag..]).map(|(one, other)| one * other).sum::<f64>();
        let best = (150..260).max_by(|one, other| alike(*one).total_cmp(&alike(*other))).unwrap();
        assert!((f64::from(MUSIC_RATE) / best as f64 - 220.0).abs() < 1.5, "{best}");
    }
}
