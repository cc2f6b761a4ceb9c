//! The signal at seven rates, each half of the one before.

use super::halver::Halver;
use super::kernels::Window;

/// How many octaves there are.
pub(super) const OCTAVES: usize = 7;

/// What is still needed of a signal at every rate.
pub(super) struct Octaves {
    first: i64,
    next: i64,
    levels: Vec<Level>,
    halved: Vec<f32>,
    /// Samples on either side of a middle.
    reach: usize,
    gathered: Vec<f32>,
    sums: Vec<f32>,
    differences: Vec<f32>,
}

/// The signal at one rate.
struct Level {
    /// What halves the rate of the level above; the highest has none.
    halver: Option<Halver>,
    /// Number of the first sample that is kept.
    first: i64,
    samples: Vec<f32>,
}

impl Octaves {
    /// Silence lies before sample `first`.
    pub(super) fn new(first: i64, reach: usize) -> Octaves {
        let mut levels = vec![Level { halver: None, first, samples: Vec::new() }];
        for level in 1..OCTAVES {
            let halver = Halver::new(levels[level - 1].first);
            levels.push(Level { first: halver.next_output(), halver: Some(halver), samples: Vec::new() });
        }
        let (sums, differences) = (vec![0.0; reach], vec![0.0; reach]);
        Octaves {
            first,
            next: first,
            levels,
            halved: Vec::new(),
            reach,
            gathered: vec![0.0; 2 * reach],
            sums,
            differences,
        }
    }

    /// Number of the first sample that came.
    pub(super) fn first_sample(&self) -> i64 {
        self.first
    }

    /// Number of the sample that comes next.
    pub(super) fn next_sample(&self) -> i64 {
        self.next
    }

    /// Takes the next samples.
    pub(super) fn push(&mut self, samples: &[f32]) {
        self.next += samples.len() as i64;
        self.halved.clear();
        self.halved.extend_from_slice(samples);
        for level in &mut self.levels {
            let start = level.samples.len();
            match &mut level.halver {
                None => level.samples.extend_from_slice(&self.halved),
                Some(halver) => halver.push(&self.halved, &mut level.samples),
            }
            self.halved.clear();
            self.halved.extend_from_slice(&level.samples[start..]);
        }
    }

    /// The end: zeros follow at every rate.
    pub(super) fn finish(&mut self) {
        self.halved.clear();
        for level in &mut self.levels {
            let start = level.samples.len();
            if let Some(halver) = &mut level.halver {
                halver.push(&self.halved, &mut level.samples);
                halver.finish(&mut level.samples);
            }
            self.halved.clear();
            self.halved.extend_from_slice(&level.samples[start..]);
        }
    }

    /// The samples about the middle after sample `centre` (a multiple of 2^6) at a rate halved so often; what is not
    /// there is silence. Middles must not fall: what lies before is let go.
    pub(super) fn around(&mut self, halvings: usize, centre: i64) -> Window<'_> {
        let level = &mut self.levels[halvings];
        let from = (centre >> halvings) + 1 - self.reach as i64;
        let unused = usize::try_from(from - level.first).unwrap_or(0).min(level.samples.len());
        // Moving what is kept costs little beside the filters.
        level.samples.drain(..unused);
        level.first += unused as i64;
        // Where the window begins in what is kept, or what it has before that.
        let missing = usize::try_from(level.first - from).unwrap_or(0).min(2 * self.reach);
        let there =
            (2 * self.reach - missing).min(if from + missing as i64 == level.first { level.samples.len() } else { 0 });
        self.gathered.fill(0.0);
        self.gathered[missing..missing + there].copy_from_slice(&level.samples[..there]);
        let (before, after) = self.gathered.split_at(self.reach);
        let pairs = before.iter().rev().zip(after);
        for ((before, after), (sum, difference)) in pairs.zip(self.sums.iter_mut().zip(&mut self.differences)) {
            (*sum, *difference) = (after + before, after - before);
        }
        Window { sums: &self.sums, differences: &self.differences }
    }
}
