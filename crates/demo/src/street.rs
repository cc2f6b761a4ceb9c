//! A street: traffic far away, cars that pass, a church that strikes the hours, horns, seldom a siren.

use crate::random::wander;
use crate::tone::{Shape, Tables, Tone, steady};
use crate::{BLOCK, BLOCKS, Local, Place, RATE, Random};

/// How much traffic there is at each full hour, of the most.
const TRAFFIC: [f32; 24] = [
    0.12, 0.08, 0.05, 0.04, 0.07, 0.22, 0.6, 0.95, 1.0, 0.7, 0.52, 0.55, 0.66, 0.64, 0.55, 0.6, 0.8, 1.0, 0.95, 0.7,
    0.48, 0.36, 0.28, 0.2,
];

/// Cars a second in one direction when traffic is at its most.
const CARS: f32 = 0.3;

/// Seconds before and after it passes within which a car is heard.
const HEARD: i64 = 6;

/// Metres a second.
const SOUND: f64 = 343.0;

/// Kinds of chance.
const NEAR_SIDE: u64 = 100;
const FAR_SIDE: u64 = 101;
const FAR_AWAY: u64 = 110;
const ROAR: u64 = 111;
const CITY: u64 = 112;
const HORNS: u64 = 120;
const SIRENS: u64 = 130;

/// Seconds of which at most one siren begins, and how long it is heard.
const SIREN_SLOT: i64 = 1_200;
const SIREN: i64 = 45;

/// Adds a block of the street.
pub fn add(tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
    let ends = (traffic(block), traffic(block + 1));
    let gains = |least: f32, most: f32| (least + most * ends.0, least + most * ends.1);
    tables.bed(&tables.rumble, FAR_AWAY, block, gains(0.004, 0.022), out);
    tables.bed(&tables.wind, ROAR, block, gains(0.001_5, 0.011), out);
    tables.bed(&tables.hiss, CITY, block, gains(0.000_6, 0.002), out);
    let second = block.div_euclid(BLOCKS);
    for (side, distance) in [(NEAR_SIDE, 5.0), (FAR_SIDE, 9.0)] {
        for slot in second - HEARD - 1..=second + HEARD {
            if let Some(car) = Car::of(side, slot, distance) {
                car.add(tables, block, out);
            }
        }
    }
    horns(tables, block, out);
    church(tables, block, out);
    siren(tables, block, out);
}

/// How much traffic there is, of the most: less and later at week-ends, and never even.
fn traffic(block: i64) -> f32 {
    let mut local = Local::at(block, Place::Street);
    let is_weekend = matches!((local.day + 4).rem_euclid(7), 0 | 6);
    if is_weekend {
        local.hour = (local.hour + 22.5) % 24.0;
    }
    let week = if is_weekend { 0.65 } else { 1.0 };
    let mood = 0.8 + 0.4 * wander(FAR_AWAY, block, 40 * BLOCKS);
    local.on(&TRAFFIC) * week * mood
}

/// A car that passes.
struct Car {
    /// When it is nearest, in seconds, and at which distance in metres.
    passes: f64,
    distance: f64,
    /// Metres a second, along the street.
    speed: f64,
    /// The engine's base, in Hz.
    engine: f64,
    tyres: f32,
    motor: f32,
    kind: u64,
    slot: i64,
}

impl Car {
    /// The car that passes on one side within a second, if one does.
    fn of(side: u64, slot: i64, distance: f64) -> Option<Self> {
        let mut random = Random::about(side, slot);
        let traffic = traffic(slot * BLOCKS);
        if !random.chance(CARS * traffic) {
            return None;
        }
        let is_heavy = random.chance(0.1);
        // Where there are many, nobody drives fast.
        let speed = f64::from(random.between(11.0, 17.0) - 5.0 * traffic.min(1.0));
        let loudness = random.between(0.6, 1.3) * if is_heavy { 1.7 } else { 1.0 };
        Some(Self {
            passes: slot as f64 + f64::from(random.unit()),
            distance,
            speed,
            engine: f64::from(if is_heavy { random.between(38.0, 55.0) } else { random.between(62.0, 115.0) }),
            tyres: 0.075 * loudness,
            motor: loudness * if is_heavy { 0.11 } else { 0.045 },
            kind: side,
            slot,
        })
    }

    /// How far it is from the ear, and what share of its loudness arrives.
    fn heard(&self, block: i64) -> (f64, f64, f32) {
        let since = block as f64 / BLOCKS as f64 - self.passes;
        let range = self.distance.hypot(self.speed * since);
        let edge = (1.0 - (since / HEARD as f64).powi(2)).max(0.0);
        (since, range, (5.0 / range * edge) as f32)
    }

    fn add(&self, tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
        let (from, to) = (self.heard(block), self.heard(block + 1));
        if from.2 + to.2 <= 0.0 {
            return;
        }
        // Air takes the high notes of what is far away.
        let near = |(_, range, share): (f64, f64, f32)| share * (12.0 / (12.0 + range)) as f32;
        let kind = self.kind.wrapping_mul(1_000_003) ^ self.slot as u64;
        tables.bed(&tables.tyres, kind, block, (self.tyres * from.2, self.tyres * to.2), out);
        tables.bed(&tables.hiss, kind, block, (0.6 * self.tyres * near(from), 0.6 * self.tyres * near(to)), out);
        // What arrives left earlier by the way's time: that is the Doppler effect.
        let turns = |(since, range, _): (f64, f64, f32)| self.engine * (since - range / SOUND);
        steady(&tables.reed, (turns(from), turns(to)), (self.motor * from.2, self.motor * to.2), out);
    }
}

/// Horns, where traffic is dense: once or twice, two notes.
fn horns(tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
    let slot = block.div_euclid(10 * BLOCKS);
    for slot in slot - 1..=slot {
        let mut random = Random::about(HORNS, slot);
        let start = slot * 10 * BLOCKS + random.below(9 * BLOCKS as usize) as i64;
        if !random.chance(0.12 * (traffic(start) - 0.4).max(0.0)) {
            continue;
        }
        let (base, gain) = (random.between(340.0, 430.0), random.between(0.02, 0.07));
        let length = (random.between(0.18, 0.6) * RATE as f32) as i64;
        for again in 0..1 + random.below(2) as i64 {
            for ratio in [1.0, 1.26] {
                let hertz = (base * ratio, base * ratio);
                let start = start * BLOCK as i64 + again * (length + i64::from(RATE) / 8);
                Tone { start, length, hertz, gain, shape: Shape::Swell }.add(tables, &tables.reed, block, out);
            }
        }
    }
}

/// A bell strikes the hours from seven to ten, as often as the clock says.
fn church(tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
    /// Hum, prime, tierce, quint and nominal of a bell, with their levels.
    const PARTIALS: [(f32, f32, f32); 5] =
        [(0.5, 0.5, 5.0), (1.0, 0.8, 3.0), (1.2, 0.7, 2.2), (1.5, 0.4, 1.8), (2.0, 1.0, 1.4)];
    const STROKE: i64 = 2;
    let local = Local::at(block, Place::Street);
    let hour = local.hour as i64;
    let since = (local.hour.fract() * 3_600.0) as i64;
    let strokes = (hour + 11) % 12 + 1;
    if !(7..=22).contains(&hour) || since > STROKE * strokes + 9 {
        return;
    }
    let begun = block - block.rem_euclid(3_600 * BLOCKS);
    for stroke in 0..strokes {
        let start = (begun + stroke * STROKE * BLOCKS) * BLOCK as i64;
        for (ratio, level, seconds) in PARTIALS {
            let hertz = (262.0 * ratio, 262.0 * ratio);
            let shape = Shape::Struck(seconds * 0.6);
            Tone { start, length: 8 * i64::from(RATE), hertz, gain: 0.022 * level, shape }.add(
                tables,
                &tables.sine,
                block,
                out,
            );
        }
    }
}

/// Seldom, two notes that pass by.
fn siren(tables: &Tables, block: i64, out: &mut [f32; BLOCK]) {
    const NOTES: [f64; 2] = [435.0, 580.0];
    let slot = block.div_euclid(SIREN_SLOT * BLOCKS);
    let mut random = Random::about(SIRENS, slot);
    if !random.chance(0.12) {
        return;
    }
    let start = slot * SIREN_SLOT * BLOCKS + random.below(((SIREN_SLOT - SIREN) * BLOCKS) as usize) as i64;
    let (speed, distance) = (f64::from(random.between(12.0, 18.0)), f64::from(random.between(12.0, 60.0)));
    let heard = |block: i64| {
        let since = (block - start) as f64 / BLOCKS as f64;
        let middle = since - SIREN as f64 / 2.0;
        let edge = 1.0 - (middle / (SIREN as f64 / 2.0)).powi(2);
        let range = distance.hypot(speed * middle);
        (since - range / SOUND, (2.2 / range.max(12.0) * edge.max(0.0)) as f32)
    };
    if !(start..start + SIREN * BLOCKS).contains(&block) {
        return;
    }
    let (from, to) = (heard(block), heard(block + 1));
    // Half a second a note, without a jump of phase: the turns of both notes up to now.
    let turns = |time: f64| {
        let pair = time.rem_euclid(1.0);
        let inside = if pair < 0.5 { NOTES[0] * pair } else { NOTES[0] * 0.5 + NOTES[1] * (pair - 0.5) };
        time.div_euclid(1.0) * (NOTES[0] + NOTES[1]) * 0.5 + inside
    };
    steady(&tables.reed, (turns(from.0), turns(to.0)), (from.1, to.1), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_car_falls_in_pitch_and_is_loudest_when_it_passes() {
        let car = (0..10_000).find_map(|slot| Car::of(NEAR_SIDE, slot, 5.0)).unwrap();
        let passes = (car.passes * BLOCKS as f64) as i64;
        let turns = |block: i64| {
            let (since, range, _) = car.heard(block);
            car.engine * (since - range / SOUND)
        };
        let hertz = |block: i64| (turns(block + 1) - turns(block)) * BLOCKS as f64;
        let (before, after) = (hertz(passes - 3 * BLOCKS), hertz(passes + 3 * BLOCKS));
        let expected = (1.0 + car.speed / SOUND) / (1.0 - car.speed / SOUND);
        assert!((before / after / expected - 1.0).abs() < 0.02, "{before} {after}");
        let level = |block: i64| car.heard(block).2;
        assert!(level(passes) > level(passes - BLOCKS) && level(passes) > level(passes + BLOCKS));
        assert!(level(passes + HEARD * BLOCKS + 1) <= 0.0);
    }

    #[test]
    fn a_day_has_a_few_sirens() {
        let slots = 86_400 / SIREN_SLOT;
        let day = 1_777_420_800 / SIREN_SLOT;
        let sirens = (day..day + 30 * slots).filter(|slot| Random::about(SIRENS, *slot).chance(0.12)).count();
        assert!((5 * 30..13 * 30).contains(&sirens), "{sirens} in 30 days");
    }
}
