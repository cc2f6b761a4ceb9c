//! Filters of which only every second, third, ... output is wanted.
//!
//! The input is dealt out to as many streams, so that each output register holds outputs that follow each other, and
//! each tap multiplies samples that do. Two such registers are apart what two taps `LANES` further are apart: a register
//! of samples serves several of both, and so there are fewer loads than products.

use crate::vector::widest;

/// Outputs side by side in a register.
const LANES: usize = 8;
/// Registers of outputs that are made together, and taps, each [`LANES`] after the one before, that share samples.
const TOGETHER: usize = 4;
const SHARING: usize = 4;
/// Taps that a stream has a multiple of.
const GROUP: usize = LANES * SHARING;

/// A filter with its step. What it keeps from one call to the next is memory only.
#[derive(Clone, Debug)]
pub struct Decimator {
    /// Taps that were given, and samples from one output to the next.
    length: usize,
    step: usize,
    /// For each stream, and each [`GROUP`] of its taps: those that share samples, by where they begin.
    taps: Vec<[[f32; SHARING]; LANES]>,
    /// Every `step`-th sample from the first on, then from the second on, and so on.
    streams: Vec<f32>,
}

impl Decimator {
    /// The filter that multiplies the first sample of a window by the first tap, and moves on by `step` samples.
    ///
    /// # Panics
    /// If there is no tap or the step is 0.
    pub fn new(taps: &[f32], step: usize) -> Self {
        assert!(!taps.is_empty() && step > 0, "a filter has a tap and moves on");
        let groups = taps.len().div_ceil(step).div_ceil(GROUP);
        let tap = |stream: usize, number: usize| taps.get(number * step + stream).copied().unwrap_or(0.0);
        let group = |index: usize| {
            let (stream, first) = (index / groups, index % groups * GROUP);
            std::array::from_fn(|lane| std::array::from_fn(|share| tap(stream, first + lane + share * LANES)))
        };
        Self { length: taps.len(), step, taps: (0..step * groups).map(group).collect(), streams: Vec::new() }
    }

    /// Appends the outputs of all windows that lie in `input`, of which the first begins with it, and returns how many
    /// there are. An output has the same bits whatever is made along with it, and on every processor, if all samples are finite.
    pub fn run(&mut self, input: &[f32], output: &mut Vec<f32>) -> usize {
        let Some(rest) = input.len().checked_sub(self.length) else { return 0 };
        let count = rest / self.step + 1;
        widest(
            #[inline(always)]
            || self.deal(input, count),
        );
        let start = output.len();
        output.resize(start + count.next_multiple_of(LANES), 0.0);
        let registers = output[start..].as_chunks_mut::<LANES>().0;
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[expect(
                unsafe_code,
                reason = "only the line above knows that the processor has what the function is compiled for"
            )]
            // SAFETY: the processor has AVX2, which is all that the function asks for.
            unsafe {
                self.make_wide(registers);
            }
            output.truncate(start + count);
            return count;
        }
        self.make(registers);
        output.truncate(start + count);
        count
    }

    /// Fills the streams, with zeros where the last register reaches beyond the input.
    #[inline(always)]
    fn deal(&mut self, input: &[f32], count: usize) {
        let length = count.next_multiple_of(LANES) + self.taps.len() / self.step * GROUP - 1;
        self.streams.clear();
        self.streams.resize(length * self.step, 0.0);
        if self.step == 2 {
            let (first, second) = self.streams.split_at_mut(length);
            let (pairs, last) = input.as_chunks::<2>();
            for ((first, second), pair) in first.iter_mut().zip(second).zip(pairs) {
                (*first, *second) = (pair[0], pair[1]);
            }
            if let (Some(place), [last]) = (first.get_mut(pairs.len()), last) {
                *place = *last;
            }
            return;
        }
        for (number, stream) in self.streams.chunks_exact_mut(length).enumerate() {
            let samples = input.get(number..).unwrap_or(&[]).iter().step_by(self.step);
            stream.iter_mut().zip(samples).for_each(|(place, sample)| *place = *sample);
        }
    }

    /// Fills registers of outputs, one by one.
    fn make(&self, registers: &mut [[f32; LANES]]) {
        for (number, register) in registers.iter_mut().enumerate() {
            let mut sums = [0.0; LANES];
            self.each(number * LANES, LANES, |samples, taps| add(&mut sums, samples, taps));
            *register = sums;
        }
    }

    /// The same, several at a time. The compiler does not find this by itself: it would gather lanes of different registers.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn make_wide(&self, registers: &mut [[f32; LANES]]) {
        let (blocks, rest) = registers.as_chunks_mut::<TOGETHER>();
        let rest_first = blocks.len() * TOGETHER;
        for (number, block) in blocks.iter_mut().enumerate() {
            *block = self.sums_wide(number * TOGETHER * LANES);
        }
        for (number, register) in rest.iter_mut().enumerate() {
            [*register] = self.sums_wide((rest_first + number) * LANES);
        }
    }

    /// Outputs from `first` on.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums_wide<const REGISTERS: usize>(&self, first: usize) -> [[f32; LANES]; REGISTERS] {
        use std::arch::x86_64::{_mm256_add_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps};

        let mut sums = [_mm256_setzero_ps(); REGISTERS];
        self.each(first, REGISTERS * LANES, |samples, taps| {
            let taps = taps.map(|tap| _mm256_set1_ps(tap));
            let product = |place: usize, tap: usize| _mm256_mul_ps(load(&samples[place + tap]), taps[tap]);
            for (place, sum) in sums.iter_mut().enumerate() {
                let first = _mm256_add_ps(product(place, 0), product(place, 1));
                let second = _mm256_add_ps(product(place, 2), product(place, 3));
                *sum = _mm256_add_ps(*sum, _mm256_add_ps(first, second));
            }
        });
        sums.map(|sum| store(sum))
    }

    /// Calls `each` for all taps that share samples, with these samples, for so many outputs from `first` on.
    #[inline(always)]
    fn each(&self, first: usize, outputs: usize, mut each: impl FnMut(&[[f32; LANES]], &[f32; SHARING])) {
        let length = self.streams.len() / self.step;
        let groups = self.taps.len() / self.step;
        for (stream, groups) in self.streams.chunks_exact(length).zip(self.taps.chunks_exact(groups)) {
            for (number, group) in groups.iter().enumerate() {
                let reached = &stream[first + number * GROUP..][..outputs + GROUP - 1];
                for (lane, taps) in group.iter().enumerate() {
                    each(reached[lane..][..outputs + GROUP - LANES].as_chunks().0, taps);
                }
            }
        }
    }
}

/// Adds products, two and two, so that a sum need not wait for each of them.
#[inline(always)]
fn add(sums: &mut [f32; LANES], samples: &[[f32; LANES]], taps: &[f32; SHARING]) {
    for (lane, sum) in sums.iter_mut().enumerate() {
        *sum += (samples[0][lane] * taps[0] + samples[1][lane] * taps[1])
            + (samples[2][lane] * taps[2] + samples[3][lane] * taps[3]);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: &[f32; LANES]) -> std::arch::x86_64::__m256 {
    #[expect(unsafe_code, reason = "loads by address are")]
    // SAFETY: there are eight numbers behind the address, which may lie anywhere.
    unsafe {
        std::arch::x86_64::_mm256_loadu_ps(lanes.as_ptr())
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn store(register: std::arch::x86_64::__m256) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    #[expect(unsafe_code, reason = "stores by address are")]
    // SAFETY: there is room for eight numbers behind the address, which may lie anywhere.
    unsafe {
        std::arch::x86_64::_mm256_storeu_ps(lanes.as_mut_ptr(), register);
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, modulus: usize) -> Vec<f32> {
        (0..count).map(|n| (n * 7_919 % modulus) as f32 - modulus as f32 / 2.0).collect()
    }

    #[test]
    fn outputs_are_those_of_the_definition() {
        for (length, step) in
            [(1, 1), (1, 3), (31, 1), (32, 2), (65, 2), (256, 2), (389, 2), (384, 3), (512, 4), (7, 11)]
        {
            let taps = numbers(length, 30);
            let mut decimator = Decimator::new(&taps, step);
            for samples in [0, length - 1, length, length + 1, length + 2 * step, length + 31 * step, 3_001] {
                let input = numbers(samples, 100);
                let windows = input.windows(length).step_by(step);
                let expected: Vec<f32> =
                    windows.map(|window| window.iter().zip(&taps).map(|(a, b)| a * b).sum()).collect();
                let mut output = vec![1.0];
                assert_eq!(decimator.run(&input, &mut output), expected.len(), "{length} {step} {samples}");
                assert_eq!(output[1..], expected, "{length} {step} {samples}: these sums are exact");
            }
        }
    }

    /// With and without wide registers, alone and with others.
    #[test]
    fn an_output_is_the_same_bits_on_every_processor_and_with_any_neighbours() {
        for (length, step) in [(256, 2), (389, 2), (300, 3)] {
            let taps: Vec<f32> = numbers(length, 1_009).iter().map(|tap| tap / 997.0).collect();
            let input: Vec<f32> = numbers(2_000, 1_013).iter().map(|sample| sample / 499.0).collect();
            let mut decimator = Decimator::new(&taps, step);
            let mut together = Vec::new();
            let count = decimator.run(&input, &mut together);
            let mut plain = vec![[0.0; LANES]; count.div_ceil(LANES)];
            decimator.deal(&input, count);
            decimator.make(&mut plain);
            let mut alone = Vec::new();
            for window in input.windows(length).step_by(step) {
                decimator.run(window, &mut alone);
            }
            assert!(count > 500 && together == plain.as_flattened()[..count] && together == alone, "{length} {step}");
        }
    }
}
