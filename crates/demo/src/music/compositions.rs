//! The pieces themselves: patterns, chords, melodies and what is said.

use super::MUSIC_RATE;
use super::instruments::{Note, Score, Turning, hertz};
use super::voice::{Onset, Speaker, Syllable, speak};
use crate::Random;

/// A melody over plucked chords and a bass, in A minor: 96 beats a minute, twenty bars.
pub fn paper_lanterns(score: &mut Score) {
    const BEAT: f32 = 60.0 / 96.0;
    const CHORDS: [[f32; 4]; 4] =
        [[45.0, 57.0, 60.0, 64.0], [41.0, 57.0, 60.0, 65.0], [48.0, 55.0, 60.0, 64.0], [43.0, 55.0, 59.0, 62.0]];
    const LAST: [f32; 4] = [40.0, 56.0, 59.0, 64.0];
    /// Beats and notes of four bars; 0 rests.
    const CALL: [(f32, f32); 15] = [
        (1.5, 76.0),
        (0.5, 74.0),
        (1.0, 72.0),
        (1.0, 69.0),
        (1.0, 72.0),
        (0.5, 74.0),
        (0.5, 72.0),
        (2.0, 69.0),
        (1.5, 67.0),
        (0.5, 72.0),
        (1.0, 76.0),
        (1.0, 79.0),
        (2.0, 74.0),
        (1.0, 71.0),
        (1.0, 0.0),
    ];
    const ANSWER: [(f32, f32); 14] = [
        (1.0, 81.0),
        (0.5, 79.0),
        (0.5, 76.0),
        (1.0, 77.0),
        (1.0, 76.0),
        (1.5, 72.0),
        (0.5, 74.0),
        (2.0, 76.0),
        (1.0, 72.0),
        (1.0, 71.0),
        (1.0, 69.0),
        (1.0, 71.0),
        (3.0, 69.0),
        (1.0, 0.0),
    ];
    for bar in 0..20 {
        let start = bar as f32 * 4.0 * BEAT;
        let chord = if bar % 8 == 7 { LAST } else { CHORDS[bar % 4] };
        for (step, voice) in [1, 2, 3, 2, 1, 3, 2, 3].into_iter().enumerate() {
            let gain = if step % 4 == 0 { 0.34 } else { 0.24 };
            let pan = if step % 2 == 0 { -0.45 } else { 0.35 };
            score.pluck(Note {
                at: start + step as f32 * BEAT / 2.0,
                seconds: 0.9,
                hertz: hertz(chord[voice]),
                gain,
                pan,
            });
        }
        if bar >= 2 {
            for (beat, length) in [(0.0, 1.4), (1.5, 0.4), (2.0, 1.4), (3.5, 0.4)] {
                let at = start + beat * BEAT;
                score.bass(Note { at, seconds: length * BEAT, hertz: hertz(chord[0]), gain: 0.22, pan: 0.0 });
            }
        }
        if (4..18).contains(&bar) {
            for beat in 0..4 {
                let at = start + beat as f32 * BEAT;
                let skin = Note { at, seconds: 0.09, hertz: 52.0, gain: 0.4, pan: 0.0 };
                if beat % 2 == 0 {
                    score.drum(skin, 2.6);
                } else {
                    score.spray(Note { seconds: 0.05, hertz: 1_800.0, gain: 0.12, pan: 0.1, ..skin });
                }
                for half in 0..2 {
                    let at = at + half as f32 * BEAT / 2.0;
                    score.spray(Note { at, seconds: 0.016, hertz: 7_000.0, gain: 0.07, pan: 0.4 });
                }
            }
        }
        if bar >= 8 {
            for voice in &chord[1..] {
                score.pad(Note { at: start, seconds: 4.0 * BEAT + 0.4, hertz: hertz(*voice), gain: 0.07, pan: 0.0 });
            }
        }
    }
    for (bar, phrase) in [(2, &CALL[..]), (6, &ANSWER), (10, &CALL), (14, &ANSWER)] {
        let mut at = bar as f32 * 4.0 * BEAT;
        for (beats, note) in phrase {
            if *note > 0.0 {
                let gain = if bar >= 10 { 0.3 } else { 0.24 };
                score.bell(Note { at, seconds: beats * BEAT, hertz: hertz(*note), gain, pan: -0.1 });
                if bar >= 10 {
                    // An echo on the other side, an octave below.
                    let below = hertz(note - 12.0);
                    score.bell(Note {
                        at: at + BEAT * 0.75,
                        seconds: beats * BEAT,
                        hertz: below,
                        gain: 0.09,
                        pan: 0.6,
                    });
                }
            }
            at += beats * BEAT;
        }
    }
}

/// Drums alone: 118 beats a minute, bars of sixteen steps, and a turn in every fourth.
pub fn switchyard(score: &mut Score) {
    const STEP: f32 = 60.0 / 118.0 / 4.0;
    const KICK: [&str; 3] = ["x.....x...x.....", "x..x..x...x..x..", "x.....x.x.x...x."];
    const SNARE: [&str; 3] = ["....x.......x...", "....x..o.o..x..o", "....x..o....x.oo"];
    const HAT: [&str; 3] = ["x.o.x.o.x.o.x.o.", "xoxoxoxoxoxoxoxo", "x.oox.oox.ooxoox"];
    const BLOCK: &str = "..x..x....x..x..";
    let strike = |pattern: &str, step: usize| match pattern.as_bytes()[step] {
        b'x' => Some(1.0),
        b'o' => Some(0.42),
        _ => None,
    };
    let mut random = Random::about(510, 0);
    for bar in 0..23 {
        let part = match bar {
            0..4 => 0,
            4..12 => 1,
            12..14 => 0,
            _ => 2,
        };
        let is_turn = bar % 4 == 3;
        for step in 0..16 {
            // Every second step comes a little late: swing.
            let late = if step % 2 == 1 { 0.16 * STEP } else { 0.0 };
            let at = (bar * 16 + step) as f32 * STEP + late + random.between(0.0, 0.003);
            let note = |seconds, hertz, gain, pan| Note { at, seconds, hertz, gain, pan };
            if let Some(force) = strike(KICK[part], step).filter(|_| bar != 12) {
                score.drum(note(0.13, 47.0, 0.85 * force, 0.0), 4.2);
                score.spray(note(0.006, 2_500.0, 0.12 * force, 0.0));
            }
            if let Some(force) = strike(SNARE[part], step).filter(|_| bar >= 2 && !(is_turn && step >= 8)) {
                score.spray(note(0.075, 1_300.0, 0.34 * force, 0.06));
                score.drum(note(0.06, 186.0, 0.3 * force, 0.06), 1.5);
            }
            if let Some(force) = strike(HAT[part], step).filter(|_| bar >= 1) {
                let seconds = if step == 14 && bar % 2 == 1 { 0.11 } else { 0.022 };
                score.spray(note(seconds, 7_800.0, random.between(0.13, 0.2) * force, 0.35));
            }
            if let Some(force) = strike(BLOCK, step).filter(|_| bar >= 8) {
                score.drum(note(0.028, 830.0, 0.16 * force, -0.55), 1.08);
            }
            if is_turn && step >= 8 {
                let skin = [196.0, 147.0, 110.0, 82.0][(step - 8) / 2];
                let pan = [-0.6, -0.2, 0.25, 0.6][(step - 8) / 2];
                if step % 2 == 0 || bar >= 11 {
                    score.drum(note(0.14, skin, 0.5, pan), 1.7);
                }
            }
        }
        if bar % 8 == 4 || bar == 22 {
            let at = bar as f32 * 16.0 * STEP;
            score.spray(Note { at, seconds: 0.7, hertz: 5_200.0, gain: 0.25, pan: -0.3 });
        }
    }
}

/// A drone on D and A whose partials beat against each other, with a slow line of harmonics above it and waves of noise.
pub fn low_water(score: &mut Score) {
    const LENGTH: f32 = 55.0;
    const GROUND: f32 = 73.42;
    let voices = [(1.0, 0.26), (1.5, 0.17), (2.0, 0.15), (3.0, 0.08), (4.0, 0.05), (5.0, 0.03), (6.0, 0.025)];
    for (index, (ratio, level)) in voices.into_iter().enumerate() {
        for (detune, pan) in [(-0.06, -0.7), (0.05, 0.7), (0.11, 0.1)] {
            let mut tone = Turning::new(GROUND * ratio + detune * (1.0 + index as f32));
            let mut tide = Turning::new(0.021 + 0.006 * index as f32);
            let rate = MUSIC_RATE as f32;
            let (mut played, frames) = (0.0, LENGTH * rate);
            score.add(0.2 * index as f32, LENGTH, pan, move || {
                let edge = (played / (6.0 * rate)).min(1.0) * ((frames - played) / (6.0 * rate)).clamp(0.0, 1.0);
                played += 1.0;
                tone.next() * level * edge * (0.6 + 0.4 * tide.next())
            });
        }
    }
    // Harmonics of the ground, each held while the next one comes.
    for (index, harmonic) in [8.0, 9.0, 10.0, 12.0, 9.0, 8.0, 15.0, 12.0, 10.0, 8.0].into_iter().enumerate() {
        let (at, pan) = (5.0 + 4.6 * index as f32, if index % 2 == 0 { -0.4 } else { 0.4 });
        score.pad(Note { at, seconds: 6.5, hertz: GROUND * harmonic / 2.0, gain: 0.07, pan });
        score.bell(Note { at, seconds: 2.4, hertz: GROUND * harmonic, gain: 0.035, pan: -pan });
    }
    let mut random = Random::about(520, 0);
    let mut swell = Turning::new(0.09);
    let mut low = 0.0;
    score.add(0.0, LENGTH, 0.0, move || {
        low += 0.06 * (random.between(-1.0, 1.0) - low);
        let wave = (0.5 + 0.5 * swell.next()).powi(3);
        low * 0.22 * wave
    });
}

/// A lone voice calls, two answer in fifths: four verses on a reciting tone, with a cadence each.
pub fn call_and_answer(score: &mut Score) {
    const TONES: [[f32; 10]; 4] = [
        [0.0, 2.0, 2.0, 2.0, 3.0, 2.0, 2.0, 0.0, -2.0, 0.0],
        [0.0, 2.0, 3.0, 5.0, 5.0, 3.0, 5.0, 7.0, 5.0, 3.0],
        [7.0, 7.0, 8.0, 7.0, 5.0, 3.0, 5.0, 3.0, 2.0, 0.0],
        [0.0, 3.0, 5.0, 3.0, 2.0, 2.0, 0.0, -2.0, 0.0, 0.0],
    ];
    const VOWELS: [usize; 10] = [0, 1, 3, 0, 2, 0, 4, 3, 1, 0];
    let onsets = [Onset::None, Onset::Hum, Onset::Stop, Onset::Hiss];
    let sing = |verse: usize, ground: f32| -> Vec<Syllable> {
        let mut random = Random::about(530, verse as i64);
        let syllable = |(index, tone): (usize, &f32)| {
            let is_last = index == 9;
            let pitch = hertz(ground + tone);
            Syllable {
                onset: onsets[random.below(onsets.len())],
                vowel: VOWELS[(index + verse * 3) % 10],
                seconds: if is_last { 1.3 } else { [0.36, 0.48, 0.4][random.below(3)] },
                voiced: 0.93,
                hertz: (pitch * 0.985, pitch),
            }
        };
        TONES[verse].iter().enumerate().map(syllable).collect()
    };
    let length = |said: &[Syllable]| said.iter().map(|syllable| syllable.seconds).sum::<f32>();
    let mut at = 0.6;
    for verse in 0..4 {
        let call = sing(verse, 50.0);
        let lasts = length(&call);
        speak(score, at, Speaker { size: 1.0, vibrato: 0.006, gain: 0.5, pan: -0.5 }, call);
        at += lasts + 0.35;
        for (ground, size, pan) in [(57.0, 1.08, 0.35), (62.0, 1.16, 0.7)] {
            let answer = sing(verse, ground);
            let late = if size > 1.1 { 0.02 } else { 0.0 };
            speak(score, at + late, Speaker { size, vibrato: 0.009, gain: 0.34, pan }, answer);
        }
        at += lasts + 0.5;
    }
}

/// A forecast in no language: sentences that fall, pauses between them, stress on some syllables.
pub fn forecast(score: &mut Score) {
    let mut random = Random::about(540, 0);
    let onsets = [Onset::Stop, Onset::Hiss, Onset::Hum, Onset::None, Onset::Stop];
    let mut at = 0.5;
    let mut sentence = 0;
    while at < 34.0 {
        let count = 7 + random.below(9);
        let mut said = Vec::with_capacity(count);
        for index in 0..count {
            let gone = index as f32 / count as f32;
            let is_stressed = random.chance(0.35) || index + 2 == count;
            // Pitch declines through a sentence, and rises on what is stressed.
            let pitch = 138.0 - 34.0 * gone + if is_stressed { 24.0 } else { 0.0 } + random.between(-4.0, 4.0);
            let is_last = index + 1 == count;
            said.push(Syllable {
                onset: onsets[random.below(onsets.len())],
                vowel: random.below(5),
                seconds: random.between(0.14, 0.2)
                    + if is_stressed { 0.07 } else { 0.0 }
                    + if is_last { 0.12 } else { 0.0 },
                voiced: random.between(0.8, 0.95),
                hertz: (pitch, if is_last { pitch * 0.8 } else { pitch * 0.97 }),
            });
        }
        let lasts = said.iter().map(|syllable| syllable.seconds).sum::<f32>();
        speak(score, at, Speaker { size: 1.04, vibrato: 0.0, gain: 0.5, pan: -0.1 }, said);
        at += lasts + random.between(0.35, 0.8);
        sentence += 1;
        if sentence % 4 == 0 {
            score.bell(Note { at: at - 0.2, seconds: 0.8, hertz: 880.0, gain: 0.05, pan: 0.4 });
            at += 0.6;
        }
    }
}
