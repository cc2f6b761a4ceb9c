//! Short-time Fourier transform on a fixed grid.

/// Which transform: equal specs share one computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StftSpec {
    /// Samples per second of the resampled mono signal it runs on.
    pub rate: u32,
    /// Window (periodic Hann) and transform length in samples, even.
    pub size: u32,
    /// Samples between frames, at most `size`.
    pub hop: u32,
}

/// Where frames lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// Frame k covers samples `k * hop - size .. k * hop`: sensors, whose samples are numbered since 1970.
    Trailing,
    /// Frame k is centred at sample `k * hop`, with zeros beyond both ends, as librosa's `center=True`; there are
    /// `1 + samples / hop` of them: songs, whose samples are numbered from 0.
    Centred,
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// k, its index on the grid.
    pub index: i64,
    /// Number of the last sample (at the spec's rate) that it covers; beyond the end for the last centred frames.
    pub last: i64,
    /// |X|² of the windowed samples, unscaled: `size / 2 + 1` bins.
    pub power: &'a [f32],
}

/// A running transform.
pub struct Stft {
    spec: StftSpec,
}

impl Stft {
    /// A transform whose first sample has the number `first`; what lies before is taken as zeros. The first
    /// trailing frame is the first that covers a sample, the first centred one is 0 (`first` should be 0 then).
    ///
    /// # Panics
    /// If `size` is odd or 0, or `hop` is 0 or exceeds `size`.
    pub fn new(spec: StftSpec, grid: Grid, first: i64) -> Self {
        todo!("{:?}", (spec, grid, first))
    }

    /// What it computes.
    pub fn spec(&self) -> StftSpec {
        self.spec
    }

    /// Takes the next samples, and calls `each` for every frame that is complete.
    pub fn push(&mut self, samples: &[f32], each: impl FnMut(Frame<'_>)) {
        todo!("{samples:?} {}", std::any::type_name_of_val(&each))
    }

    /// The end of the input: calls `each` for the centred frames that reach beyond it. Trailing frames have none.
    pub fn finish(&mut self, each: impl FnMut(Frame<'_>)) {
        todo!("{}", std::any::type_name_of_val(&each))
    }
}
