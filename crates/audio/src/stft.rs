//! Short-time Fourier transform on a fixed grid.

/// Which transform: equal specs share one computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StftSpec {
    /// Samples per second of the resampled mono signal it runs on.
    pub rate: u32,
    /// Window (periodic Hann) and transform length in samples.
    pub size: u32,
    /// Samples between frames.
    pub hop: u32,
}
