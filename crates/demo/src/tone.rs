//! What sounds are made of: waves from tables, and beds of noise, each added to a block from where it would be by then.

use std::f64::consts::TAU;

use crate::{BLOCK, BLOCKS, RATE, Random};

/// Entries of a wave's table, as a power of two.
const WAVE_BITS: u32 = 12;

/// Seconds of noise in a table.
const NOISE_SECONDS: usize = 8;

/// One period of a wave.
pub type Wave = Vec<f32>;

/// Waves and noises.
pub struct Tables {
    /// A pure tone.
    pub sine: Wave,
    /// A tone with a little of its octave and twelfth: whistles.
    pub whistle: Wave,
    /// Many partials: engines, horns.
    pub reed: Wave,
    /// Below 150 Hz: traffic far away, thunder.
    pub rumble: Vec<f32>,
    /// From 300 to 1,800 Hz: tyres near by.
    pub tyres: Vec<f32>,
    /// From 60 to 600 Hz: wind in trees.
    pub wind: Vec<f32>,
    /// Above 1.5 kHz: rain, leaves.
    pub hiss: Vec<f32>,
    /// From 0 to 1 within a second as a quarter of a sine.
    fade: Vec<f32>,
}

impl Tables {
    pub fn new() -> Self {
        Self {
            sine: wave(&[1.0]),
            whistle: wave(&[1.0, 0.12, 0.05]),
            reed: wave(&[1.0, 0.7, 0.55, 0.35, 0.3, 0.22, 0.15, 0.1, 0.07, 0.05]),
            rumble: noise(1, 25.0, 150.0),
            tyres: noise(2, 300.0, 1_800.0),
            wind: noise(3, 60.0, 600.0),
            hiss: noise(4, 1_500.0, 7_500.0),
            fade: (0..RATE).map(|index| (f64::from(index) / f64::from(RATE) * TAU / 4.0).sin() as f32).collect(),
        }
    }

    /// Adds noise from a table. Every second of it begins somewhere else in the table, and fades into the next, so that
    /// nobody hears the table come round. The level goes from `gains.0` to `gains.1`, as root mean square.
    pub fn bed(&self, noise: &[f32], kind: u64, block: i64, gains: (f32, f32), out: &mut [f32; BLOCK]) {
        if gains.0.max(gains.1) < 1e-5 {
            return;
        }
        let (second, within) = (block.div_euclid(BLOCKS), block.rem_euclid(BLOCKS) as usize * BLOCK);
        let rate = RATE as usize;
        let from = |second| Random::about(kind, second).below(noise.len() - 2 * rate) + within;
        let (old, new) = (from(second) + rate, from(second + 1));
        let (old, new) = (&noise[old..old + BLOCK], &noise[new..new + BLOCK]);
        let rising = &self.fade[within..within + BLOCK];
        let falling = self.fade[rate - within - BLOCK..rate - within].iter().rev();
        let step = (gains.1 - gains.0) / BLOCK as f32;
        let mut gain = gains.0;
        for ((((out, old), new), rising), falling) in out.iter_mut().zip(old).zip(new).zip(rising).zip(falling) {
            *out += gain * (old * falling + new * rising);
            gain += step;
        }
    }
}

fn wave(partials: &[f64]) -> Wave {
    let sum: f64 = partials.iter().sum();
    let entry = |index: usize| {
        let phase = TAU * index as f64 / f64::from(1 << WAVE_BITS);
        let value: f64 = (1..).zip(partials).map(|(number, level)| level * (phase * f64::from(number)).sin()).sum();
        (value / sum) as f32
    };
    (0..1 << WAVE_BITS).map(entry).collect()
}

/// White noise between two corners of 6 and 12 dB an octave, with a mean square of 1.
fn noise(kind: u64, low: f64, high: f64) -> Vec<f32> {
    let mut random = Random::about(kind, 0);
    let share = |corner: f64| 1.0 - (-TAU * corner / f64::from(RATE)).exp();
    let (low, high) = (share(low), share(high));
    let mut state = [0.0_f64; 3];
    let length = NOISE_SECONDS * RATE as usize;
    // The filters have settled after the first tenth of a second, at whatever corner is used here.
    let mut samples: Vec<f32> = (0..length + RATE as usize / 10)
        .map(|_| {
            let white = f64::from(random.unit()) - 0.5;
            state[0] += high * (white - state[0]);
            state[1] += high * (state[0] - state[1]);
            state[2] += low * (state[1] - state[2]);
            (state[1] - state[2]) as f32
        })
        .skip(RATE as usize / 10)
        .collect();
    let square: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / length as f64;
    let gain = square.sqrt().recip() as f32;
    samples.iter_mut().for_each(|sample| *sample *= gain);
    samples
}

/// How a tone comes and goes.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Up and down as a Hann window.
    Swell,
    /// At once, and away by a factor of e in so many seconds.
    Struck(f32),
}

/// A tone that begins once and ends.
#[derive(Clone, Copy, Debug)]
pub struct Tone {
    /// Its first sample, counted since 1970.
    pub start: i64,
    /// Its length in samples.
    pub length: i64,
    /// Frequencies at its ends, in Hz.
    pub hertz: (f32, f32),
    /// Its peak.
    pub gain: f32,
    /// How it comes and goes.
    pub shape: Shape,
}

/// A share of a turn as 32 bits, which wrap as it does.
fn turns(share: f64) -> u32 {
    (share.rem_euclid(1.0) * 4_294_967_296.0) as u64 as u32
}

/// A step of less than half a turn, up or down.
fn step(share: f64) -> u32 {
    (share * 4_294_967_296.0) as i64 as u32
}

fn at(wave: &[f32], turns: u32) -> f32 {
    wave[(turns >> (32 - WAVE_BITS)) as usize]
}

impl Tone {
    /// Adds what of it falls into a block.
    pub fn add(&self, tables: &Tables, wave: &[f32], block: i64, out: &mut [f32; BLOCK]) {
        let begin = block * BLOCK as i64;
        let (from, to) = ((self.start - begin).max(0), (self.start + self.length - begin).min(BLOCK as i64));
        if from >= to {
            return;
        }
        let rate = f64::from(RATE);
        let played = (begin + from - self.start) as f64;
        let (first, last, length) = (f64::from(self.hertz.0), f64::from(self.hertz.1), self.length as f64);
        let bend = (last - first) / length / rate;
        let mut phase = turns(first / rate * played + bend / 2.0 * played * played);
        let mut turn = step(first / rate + bend * played);
        let bend = step(bend);
        let out = &mut out[from as usize..to as usize];
        match self.shape {
            Shape::Swell => {
                // -cos: a sine three quarters of a turn ahead.
                let mut window = turns(played / length + 0.75);
                let open = step(1.0 / length);
                let half = self.gain / 2.0;
                for out in out {
                    *out += half * (1.0 + at(&tables.sine, window)) * at(wave, phase);
                    phase = phase.wrapping_add(turn);
                    turn = turn.wrapping_add(bend);
                    window = window.wrapping_add(open);
                }
            }
            Shape::Struck(seconds) => {
                let left = 1.0 / (f64::from(seconds) * rate);
                let mut gain = self.gain * (-played * left).exp() as f32;
                let fall = (-left).exp() as f32;
                for out in out {
                    *out += gain * at(wave, phase);
                    gain *= fall;
                    phase = phase.wrapping_add(turn);
                    turn = turn.wrapping_add(bend);
                }
            }
        }
    }
}

/// Adds a wave that sounds all through a block, with phases in turns and gains at its ends.
pub fn steady(wave: &[f32], phases: (f64, f64), gains: (f32, f32), out: &mut [f32; BLOCK]) {
    let mut phase = turns(phases.0);
    let turn = step((phases.1 - phases.0) / BLOCK as f64);
    let (mut gain, grow) = (gains.0, (gains.1 - gains.0) / BLOCK as f32);
    for out in out {
        *out += gain * at(wave, phase);
        phase = phase.wrapping_add(turn);
        gain += grow;
    }
}

/// The nearest 16 bit integer. What is loud is bent, never cut: up to half of full scale nothing changes.
pub fn to_integer(sample: f32) -> i32 {
    let size = sample.abs();
    let bent = if size <= 0.5 { size } else { 1.0 - 0.25 / size };
    // Beside 1.5 * 2^23 a float has no bits left for halves: the sum is rounded to the nearest, ties to even, without a call.
    const WHOLE: f32 = 12_582_912.0;
    ((bent.copysign(sample) * 32_766.0 + WHOLE) - WHOLE) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_the_same_from_any_block_on() {
        let tables = Tables::new();
        let tone = Tone { start: 1_000, length: 9_000, hertz: (800.0, 2_400.0), gain: 0.5, shape: Shape::Swell };
        let mut previous = 0.0;
        for block in 0..40 {
            let mut out = [0.0; BLOCK];
            tone.add(&tables, &tables.sine, block, &mut out);
            for sample in out {
                // 2,400 Hz at 16 kHz moves by no more than its turn, 0.94 rad, times its peak.
                assert!((sample - previous as f32).abs() < 0.48, "a jump in block {block}");
                previous = f64::from(sample);
            }
        }
    }

    #[test]
    fn beds_have_the_level_that_was_asked_for() {
        let tables = Tables::new();
        for noise in [&tables.rumble, &tables.tyres, &tables.wind, &tables.hiss] {
            let mut square = 0.0;
            for block in 0..1_000 {
                let mut out = [0.0; BLOCK];
                tables.bed(noise, 9, block, (0.1, 0.1), &mut out);
                square += out.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
            }
            let level = (square / (1_000 * BLOCK) as f64).sqrt();
            assert!((level / 0.1 - 1.0).abs() < 0.1, "{level}");
        }
    }

    #[test]
    fn integers_bend_and_never_overflow() {
        assert_eq!(to_integer(0.0), 0);
        assert_eq!(to_integer(0.25), 8_192);
        assert_eq!(to_integer(-0.25), -8_192);
        assert!(to_integer(0.9) > to_integer(0.6));
        for loud in [1.0, 3.0, 1e9, f32::MAX] {
            assert!(to_integer(loud) <= 32_767 && to_integer(-loud) >= -32_767);
        }
    }
}
