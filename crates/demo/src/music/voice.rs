//! A voice that speaks and sings no language: a buzz through three formants, and noise for consonants.

use std::f32::consts::TAU;

use super::MUSIC_RATE;
use super::instruments::{Score, Turning};
use crate::Random;

const RATE: f32 = MUSIC_RATE as f32;

/// Frames between changes of the formants.
const STEP: usize = 64;

/// The formants of a, e, i, o and u of an adult (Peterson and Barney, "Control methods used in a study of the vowels", 1952,
/// rounded).
const VOWELS: [[f32; 3]; 5] = [
    [730.0, 1_090.0, 2_440.0],
    [530.0, 1_840.0, 2_480.0],
    [270.0, 2_290.0, 3_010.0],
    [570.0, 840.0, 2_410.0],
    [300.0, 870.0, 2_240.0],
];

/// Bandwidths of the formants in Hz, and how loud each is.
const WIDTHS: [f32; 3] = [70.0, 100.0, 150.0];
const LEVELS: [f32; 3] = [1.0, 0.55, 0.25];

/// How a syllable begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onset {
    /// With its vowel.
    None,
    /// A hiss, as s.
    Hiss,
    /// A stop, as t or k.
    Stop,
    /// A hum, as m.
    Hum,
}

/// A syllable.
#[derive(Clone, Copy, Debug)]
pub struct Syllable {
    /// How it begins.
    pub onset: Onset,
    /// Its vowel, 0 to 4.
    pub vowel: usize,
    /// Its length in seconds, the silence after it included.
    pub seconds: f32,
    /// How much of that sounds.
    pub voiced: f32,
    /// Its pitch at both ends, in Hz.
    pub hertz: (f32, f32),
}

/// Who speaks.
#[derive(Clone, Copy, Debug)]
pub struct Speaker {
    /// How much shorter the vocal tract is than an adult man's: raises all formants.
    pub size: f32,
    /// How much the pitch trembles, as a share.
    pub vibrato: f32,
    /// Loudness.
    pub gain: f32,
    /// From -1, left, to 1.
    pub pan: f32,
}

/// A resonance of two poles.
#[derive(Clone, Copy, Default)]
struct Formant {
    factors: [f32; 3],
    state: [f32; 2],
}

impl Formant {
    fn tune(&mut self, hertz: f32, width: f32) {
        let radius = (-TAU / 2.0 * width / RATE).exp();
        let cosine = (TAU * hertz / RATE).cos();
        self.factors = [1.0 - radius, 2.0 * radius * cosine, -radius * radius];
    }

    fn next(&mut self, sample: f32) -> f32 {
        let [gain, first, second] = self.factors;
        let value = gain * sample + first * self.state[0] + second * self.state[1];
        self.state = [value, self.state[0]];
        value
    }
}

/// Adds what a speaker says from `at` on.
pub fn speak(score: &mut Score, at: f32, speaker: Speaker, syllables: Vec<Syllable>) {
    let seconds: f32 = syllables.iter().map(|syllable| syllable.seconds).sum();
    let mut random = Random::about(600, (at * 1_000.0) as i64 + syllables.len() as i64);
    let mut formants = [Formant::default(); 3];
    let mut centres = VOWELS[syllables.first().map_or(0, |syllable| syllable.vowel)];
    let mut tremble = Turning::new(5.3);
    let (mut which, mut played) = (0, 0_usize);
    let (mut phase, mut loud, mut tilt, mut hiss) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
    score.add(at, seconds, speaker.pan, move || {
        let Some(syllable) = syllables.get(which) else { return 0.0 };
        let time = played as f32 / RATE;
        let share = (time / (syllable.seconds * syllable.voiced)).min(1.0);
        if played.is_multiple_of(STEP) {
            for ((formant, centre), (target, width)) in
                formants.iter_mut().zip(&mut centres).zip(VOWELS[syllable.vowel].iter().zip(WIDTHS))
            {
                // The tongue takes about 30 ms.
                *centre += (target - *centre) * 0.05;
                formant.tune(*centre * speaker.size, width);
            }
        }
        let onset = match syllable.onset {
            Onset::None => 0.0,
            Onset::Hiss => 0.09,
            Onset::Stop => 0.05,
            Onset::Hum => 0.08,
        };
        let hertz = syllable.hertz.0 + (syllable.hertz.1 - syllable.hertz.0) * share;
        let hertz = hertz * (1.0 + speaker.vibrato * tremble.next());
        phase += hertz / RATE;
        if phase >= 1.0 {
            phase -= 1.0;
        }
        // A glottal pulse: the folds open slowly, close fast, and stay closed for a while.
        let pulse = if phase < 0.6 { phase * phase * (0.6 - phase) * 20.0 } else { 0.0 };
        let buzz = pulse - tilt;
        tilt = pulse;
        let is_voiced = time >= onset && share < 1.0;
        let target = match (syllable.onset, is_voiced) {
            (_, true) => 1.0 - 0.3 * share,
            (Onset::Hum, false) if share < 1.0 => 0.35,
            _ => 0.0,
        };
        loud += (target - loud) * 0.003;
        let white = random.between(-1.0, 1.0);
        let noise = white - hiss;
        hiss = white;
        let consonant = match syllable.onset {
            Onset::Hiss if time < onset => 0.05 * noise * (time / onset) * (1.0 - time / onset) * 4.0,
            Onset::Stop if time < 0.018 => 0.09 * white * (1.0 - time / 0.018),
            _ => 0.0,
        };
        let source = buzz * 9.0 + white * 0.012;
        let sum: f32 = formants.iter_mut().zip(LEVELS).map(|(formant, level)| level * formant.next(source)).sum();
        played += 1;
        if played as f32 >= syllable.seconds * RATE {
            which += 1;
            played = 0;
        }
        (sum * loud * 4.0 + consonant) * speaker.gain
    });
}
