//! Chance that can be asked for again: a function of what it is about.

/// Spreads the bits of a number over all of it (the finaliser of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators", 2014).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Random numbers about one thing: the same for the same kind and index.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// About the `index`-th thing of a kind.
    pub fn about(kind: u64, index: i64) -> Self {
        Self(mix(mix(kind.wrapping_mul(Self::STEP)) ^ (index as u64).wrapping_mul(0xd1b5_4a32_d192_ed03)))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        mix(self.0)
    }

    /// From 0 up to, not including, 1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// From `low` up to, not including, `high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Whether something happens that does so with this probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of `0..count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() % count.max(1) as u64) as usize
    }

    /// How many things happen of which `mean` do so on average (Poisson), at most 20.
    pub fn count(&mut self, mean: f32) -> usize {
        let (limit, mut product) = ((-mean).exp(), self.unit());
        let mut count = 0;
        while product > limit && count < 20 {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

/// A value from 0 to 1 that wanders: random at each multiple of `period`, smooth in between.
pub fn wander(kind: u64, time: i64, period: i64) -> f32 {
    let (knot, share) = (time.div_euclid(period), time.rem_euclid(period) as f32 / period as f32);
    let (from, to) = (Random::about(kind, knot).unit(), Random::about(kind, knot + 1).unit());
    from + (to - from) * share * share * (3.0 - 2.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_even_and_come_again() {
        let mut random = Random::about(7, -3);
        let mean = (0..10_000).map(|_| random.unit()).sum::<f32>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert_eq!(Random::about(7, -3).bits(), Random::about(7, -3).bits());
        assert_ne!(Random::about(7, -3).bits(), Random::about(7, -2).bits());
        assert_ne!(Random::about(7, -3).bits(), Random::about(8, -3).bits());
        let counts = (0..10_000).map(|index| Random::about(1, index).count(1.5)).sum::<usize>();
        assert!((14_000..16_000).contains(&counts), "{counts}");
    }

    #[test]
    fn what_wanders_does_not_jump() {
        let values: Vec<f32> = (-500..500).map(|time| wander(3, time, 50)).collect();
        assert!(values.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.04));
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
    }
}
