//! One rate to another, on an absolute grid.

/// A streaming mono resampler.
pub struct Resampler {
    rate_in: u32,
}

impl Resampler {
    /// A resampler whose first input sample has the number `first_input`. Samples before it are taken as zeros.
    /// Tables are made here. Both rates must lie in [`crate::MIN_RATE`] to [`crate::MAX_RATE`].
    ///
    /// # Panics
    /// If a rate is 0.
    pub fn new(rate_in: u32, rate_out: u32, first_input: i64) -> Self {
        todo!("{:?}", (rate_in, rate_out, first_input))
    }

    /// Number of the output sample that comes next; at first the first one at or after the first input sample.
    pub fn next_output(&self) -> i64 {
        todo!()
    }

    /// Number of the last input sample that output sample `output` depends on: it comes out once that was pushed.
    pub fn last_input(&self, output: i64) -> i64 {
        todo!("{output} {}", self.rate_in)
    }

    /// Takes the next input samples and appends to `output` what is ready. Returns the number of the first
    /// sample appended (that of the next one, if there is none).
    pub fn push(&mut self, input: &[f32], output: &mut Vec<f32>) -> i64 {
        todo!("{input:?} {output:?}")
    }

    /// The end of the input: zeros follow. Appends all that lies before the instant after the last input
    /// sample, so that n samples become `ceil(n * rate_out / rate_in)` when both grids begin at 0. Returns as
    /// [`push`](Self::push).
    pub fn finish(&mut self, output: &mut Vec<f32>) -> i64 {
        todo!("{output:?}")
    }
}
