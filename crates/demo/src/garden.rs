//! A garden: birds by species and time of day, wind, a shower in the afternoon, thunder, crickets and frogs at night.

use crate::random::wander;
use crate::tone::{Shape, Tables, Tone};
use crate::{BLOCK, BLOCKS, Local, Place, RATE, Random};

/// How much birds sing at each full hour: the dawn chorus, a quiet noon, a second time at dusk.
const BIRDS: [f32; 24] = [
    0.0, 0.0, 0.0, 0.0, 0.03, 0.7, 1.0, 0.7, 0.45, 0.35, 0.28, 0.22, 0.16, 0.15, 0.18, 0.25, 0.35, 0.6, 0.4, 0.02, 0.0,
    0.0, 0.0, 0.0,
];

/// How much crickets sing.
const CRICKETS: [f32; 24] = [
    0.8, 0.8, 0.75, 0.7, 0.6, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.5, 0.9, 1.0, 1.0,
    0.95, 0.9,
];

/// Kinds of chance.
const WIND: u64 = 200;
const GUSTS: u64 = 201;
const LEAVES: u64 = 202;
const SHOWERS: u64 = 210;
const DROPS: u64 = 211;
const RAIN: u64 = 212;
const THUNDER: u64 = 213;
const INSECTS: u64 = 220;
const FROGS: u64 = 221;
const AWAKE: u64 = 222;
const AIR: u64 = 230;

/// A kind of bird.
struct Species {
    kind: u64,
    /// Seconds of which at most one song begins.
    slot: i64,
    /// How likely one begins when all birds sing.
    eager: f32,
    song: fn(&mut Random, &mut dyn FnMut(Note)),
}

/// A note of a song.
struct Note {
    /// Seconds after the song began, and how long.
    at: f32,
    seconds: f32,
    hertz: (f32, f32),
    level: f32,
}

const SPECIES: [Species; 6] = [
    Species { kind: 300, slot: 6, eager: 0.75, song: thrush },
    Species { kind: 301, slot: 6, eager: 0.6, song: thrush },
    Species { kind: 302, slot: 4, eager: 0.55, song: tit },
    Species { kind: 303, slot: 7, eager: 0.5, song: warbler },
    Species { kind: 304, slot: 23, eager: 0.35, song: cuckoo },
    Species { kind: 305, slot: 11, eager: 0.5, song: dove },
];

/// Seconds that a song lasts at most: shorter than any slot.
const SONG: f32 = 3.2;

/// Whistled phrases, each another.
fn thrush(random: &mut Random, sing: &mut dyn FnMut(Note)) {
    let mut at = 0.0;
    for _ in 0..3 + random.below(5) {
        let (seconds, base) = (random.between(0.08, 0.32), random.between(1_700.0, 3_000.0));
        sing(Note { at, seconds, hertz: (base, base * random.between(0.8, 1.3)), level: random.between(0.6, 1.0) });
        at += seconds + random.between(0.02, 0.1);
        if random.chance(0.3) {
            sing(Note { at, seconds: 0.05, hertz: (5_200.0, 6_400.0), level: 0.35 });
            at += 0.07;
        }
    }
}

/// Two notes, again and again.
fn tit(random: &mut Random, sing: &mut dyn FnMut(Note)) {
    let (high, low) = (random.between(5_200.0, 6_000.0), random.between(3_900.0, 4_500.0));
    for pair in 0..3 + random.below(4) {
        let at = 0.34 * pair as f32;
        sing(Note { at, seconds: 0.12, hertz: (high, high * 0.97), level: 0.7 });
        sing(Note { at: at + 0.15, seconds: 0.14, hertz: (low, low * 1.03), level: 0.8 });
    }
}

/// A trill that falls and becomes faster.
fn warbler(random: &mut Random, sing: &mut dyn FnMut(Note)) {
    let mut at = 0.0;
    let (mut gap, mut base) = (random.between(0.1, 0.13), random.between(5_600.0, 6_600.0));
    for _ in 0..16 + random.below(8) {
        sing(Note { at, seconds: 0.055, hertz: (base * 1.12, base * 0.88), level: 0.6 });
        at += gap;
        gap *= 0.965;
        base *= 0.975;
    }
}

/// A falling third, far away.
fn cuckoo(random: &mut Random, sing: &mut dyn FnMut(Note)) {
    for call in 0..2 + random.below(2) {
        let at = 1.05 * call as f32;
        sing(Note { at, seconds: 0.2, hertz: (692.0, 680.0), level: 0.8 });
        sing(Note { at: at + 0.33, seconds: 0.32, hertz: (560.0, 550.0), level: 0.8 });
    }
}

/// Three low notes, the second the longest.
fn dove(random: &mut Random, sing: &mut dyn FnMut(Note)) {
    let base = random.between(440.0, 500.0);
    for call in 0..2 {
        let at = 1.55 * call as f32;
        sing(Note { at, seconds: 0.26, hertz: (base, base * 1.06), level: 0.5 });
        sing(Note { at: at + 0.32, seconds: 0.55, hertz: (base * 1.1, base * 1.02), level: 0.7 });
        sing(Note { at: at + 0.95, seconds: 0.3, hertz: (base, base * 0.96), level: 0.5 });
    }
}

/// Adds a block of the garden.
pub fn add(tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
    let rain = (rain(block), rain(block + 1));
    wind(tables, block, rain.0, out);
    birds(tables, block, out);
    insects(tables, block, out);
    if rain.0 + rain.1 > 0.0 {
        shower(tables, block, rain, out);
    }
    thunder(tables, block, out);
    frogs(tables, block, out);
}

fn wind(tables: &Tables, block: i64, rain: f32, out: &mut [f32; BLOCK]) {
    let force = |block| {
        let local = Local::at(block, Place::Garden);
        // The day warms the air, and moves it.
        let day = (1.0 - (local.hour - 14.0).abs() / 10.0).max(0.1);
        let (slow, gust) = (wander(WIND, block, 47 * BLOCKS), wander(GUSTS, block, 5 * BLOCKS));
        (0.25 + slow) * day * (0.4 + gust * gust) + 0.5 * rain
    };
    let (from, to): (f32, f32) = (force(block), force(block + 1));
    tables.bed(&tables.wind, WIND, block, (0.002 + 0.012 * from, 0.002 + 0.012 * to), out);
    tables.bed(&tables.hiss, LEAVES, block, (0.003 * from * from, 0.003 * to * to), out);
    tables.bed(&tables.hiss, AIR, block, (0.000_7, 0.000_7), out);
}

fn birds(tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
    for species in &SPECIES {
        let this = block.div_euclid(species.slot * BLOCKS);
        for slot in this - 1..=this {
            let mut random = Random::about(species.kind, slot);
            let begins = (random.unit() * (species.slot * BLOCKS) as f32) as i64;
            let begins = slot * species.slot * BLOCKS + begins;
            // Whether it sings is decided once, when it begins, so that no song is cut off.
            let mood = Local::at(begins, Place::Garden).on(&BIRDS) * (1.0 - 0.9 * rain(begins));
            let is_over = block > begins + (SONG * BLOCKS as f32) as i64 + BLOCKS;
            if !random.chance(species.eager * mood) || block < begins || is_over {
                continue;
            }
            let loudness = 0.3 * random.between(0.15, 1.0).powi(2);
            (species.song)(&mut random, &mut |note| {
                let start = begins * BLOCK as i64 + (note.at * RATE as f32) as i64;
                let length = (note.seconds * RATE as f32) as i64;
                let tone = Tone { start, length, hertz: note.hertz, gain: loudness * note.level, shape: Shape::Swell };
                // The twelfth of high notes would fall back from beyond half of the rate.
                let is_high = note.hertz.0.max(note.hertz.1) * 3.0 > RATE as f32 / 2.0;
                let wave = if is_high { &tables.sine } else { &tables.whistle };
                tone.add(tables, wave, block, out);
            });
        }
    }
}

fn insects(tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
    if Local::at(block, Place::Garden).on(&CRICKETS) <= 0.0 {
        return;
    }
    for insect in 0..4 {
        let mut random = Random::about(INSECTS, insect);
        let (hertz, level) = (random.between(3_700.0, 4_900.0), random.between(0.3, 1.0));
        let period = (random.between(0.42, 0.7) * RATE as f32) as i64;
        let begin = block * BLOCK as i64;
        for chirp in (begin.div_euclid(period) - 1)..=((begin + BLOCK as i64).div_euclid(period)) {
            // One gain for the whole chirp, so that its pulses do not step.
            let born = chirp * period / BLOCK as i64;
            let awake = wander(AWAKE + insect as u64, born, 90 * BLOCKS);
            let mood = Local::at(born, Place::Garden).on(&CRICKETS) * (1.0 - rain(born));
            let gain = 0.035 * level * (awake * mood - 0.15).max(0.0);
            for pulse in 0..3 {
                let start = chirp * period + pulse * i64::from(RATE) * 34 / 1_000;
                let tone = Tone {
                    start,
                    length: i64::from(RATE) * 22 / 1_000,
                    hertz: (hertz, hertz * 1.01),
                    gain,
                    shape: Shape::Swell,
                };
                tone.add(tables, &tables.sine, block, out);
            }
        }
    }
}

/// How hard it rains, from 0 to 1: one shower every afternoon, another one on some nights.
fn rain(block: i64) -> f32 {
    let local = Local::at(block, Place::Garden);
    let mut random = Random::about(SHOWERS, local.day);
    let afternoon = (random.between(15.0, 16.0), random.between(0.5, 1.1), random.between(0.6, 1.0));
    let night = (random.between(1.0, 3.0), random.between(0.3, 0.8), random.between(0.2, 0.5));
    let is_wet = random.chance(0.4);
    let shower = |(begins, hours, most): (f32, f32, f32)| {
        let share = (local.hour - begins) / hours;
        if !(0.0..=1.0).contains(&share) {
            return 0.0;
        }
        // It comes at once and goes slowly.
        let rise = (share * 8.0).min(1.0);
        let fall = ((1.0 - share) * 2.5).min(1.0);
        most * rise * fall * (0.6 + 0.4 * wander(SHOWERS, block, 30 * BLOCKS))
    };
    shower(afternoon) + if is_wet { shower(night) } else { 0.0 }
}

/// Rain on leaves near by, drop by drop, over that of the whole garden.
fn shower(tables: &Tables, block: i64, rain: (f32, f32), out: &mut [f32; BLOCK]) {
    tables.bed(&tables.hiss, RAIN, block, (0.05 * rain.0.powf(1.5), 0.05 * rain.1.powf(1.5)), out);
    tables.bed(&tables.tyres, RAIN, block, (0.012 * rain.0, 0.012 * rain.1), out);
    // A drop rings for less than two blocks.
    for born in block - 2..=block {
        let mut random = Random::about(DROPS, born);
        for _ in 0..random.count(2.2 * self::rain(born)) {
            let hertz = random.between(1_600.0, 6_000.0);
            let tone = Tone {
                start: born * BLOCK as i64 + random.below(BLOCK) as i64,
                length: i64::from(RATE) * 36 / 1_000,
                hertz: (hertz, hertz * 0.9),
                gain: 0.16 * random.unit().powi(3),
                shape: Shape::Struck(random.between(0.001, 0.005)),
            };
            tone.add(tables, &tables.sine, block, out);
        }
    }
}

/// Seldom, in a hard shower.
fn thunder(tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
    const SLOT: i64 = 90;
    const ROLLS: f32 = 14.0;
    let slot = block.div_euclid(SLOT * BLOCKS);
    for slot in slot - 1..=slot {
        let mut random = Random::about(THUNDER, slot);
        let begins = slot * SLOT * BLOCKS + random.below((SLOT * BLOCKS) as usize) as i64;
        let since = (block - begins) as f32 / BLOCKS as f32;
        if !(0.0..ROLLS).contains(&since) || !random.chance(0.5 * (rain(begins) - 0.25).max(0.0)) {
            continue;
        }
        let loudness = random.between(0.04, 0.14);
        let roll = |block: i64| {
            let since = (block - begins) as f32 / BLOCKS as f32;
            let edge = (1.0 - since / ROLLS).max(0.0);
            loudness * (since * 4.0).min(1.0) * edge * edge * (0.35 + wander(THUNDER, block, BLOCKS / 2))
        };
        tables.bed(&tables.rumble, THUNDER, block, (roll(block), roll(block + 1)), out);
    }
}

/// After rain, in the evening and at night.
fn frogs(tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
    const SLOT: i64 = 3;
    let local = Local::at(block, Place::Garden);
    if (6.0..18.5).contains(&local.hour) {
        return;
    }
    let slot = block.div_euclid(SLOT * BLOCKS);
    for slot in slot - 1..=slot {
        let mut random = Random::about(FROGS, slot);
        let active = wander(FROGS, slot, 200);
        if !random.chance(0.5 * (active - 0.4).max(0.0)) {
            continue;
        }
        let begins = slot * SLOT * BLOCKS + random.below((SLOT * BLOCKS) as usize) as i64;
        let (base, gain) = (random.between(480.0, 720.0), random.between(0.01, 0.05));
        for croak in 0..4 + random.below(8) as i64 {
            let start = begins * BLOCK as i64 + croak * i64::from(RATE) / 9;
            let tone =
                Tone { start, length: i64::from(RATE) / 20, hertz: (base * 0.8, base), gain, shape: Shape::Swell };
            tone.add(tables, &tables.reed, block, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_song_ends_within_its_time() {
        for species in &SPECIES {
            assert!(SONG < species.slot as f32);
            for slot in 0..500 {
                let mut random = Random::about(species.kind, slot);
                let mut last: f32 = 0.0;
                (species.song)(&mut random, &mut |note| {
                    assert!(note.hertz.0.max(note.hertz.1) < RATE as f32 / 2.05, "{} Hz", note.hertz.0);
                    last = last.max(note.at + note.seconds);
                });
                assert!((0.2..SONG + 1.0).contains(&last), "{last} s");
            }
        }
    }

    #[test]
    fn it_rains_every_afternoon() {
        let day = 1_777_420_800 - Place::Garden.utc_offset();
        for day in (0..60).map(|number| day + number * 86_400) {
            let wet =
                |hour: i64| (0..60).filter(|minute| rain((day + hour * 3_600 + minute * 60) * BLOCKS) > 0.0).count();
            let minutes: usize = (13..19).map(wet).sum();
            assert!((20..80).contains(&minutes), "{minutes} minutes");
            assert_eq!(wet(11), 0);
        }
    }
}
