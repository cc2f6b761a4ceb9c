//! Frames: every value at its own instant, where a plan asks to keep them.

use std::ops::Range;

use super::block::{FORMAT, open};
use super::bytes::{CellError, Rows, put_varint};
use crate::descriptor::{Descriptor, Hop};

/// Name of the layer in which an algorithm's frames travel and are stored: one block per minute.
pub const FRAMES: &str = "frames";

/// One frame of an algorithm.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Where the frame begins, µs since 1970 (songs: since the start), rounded down.
    pub start: i64,
    /// The values of all outputs that have frames, side by side ([`frame_columns`]); NaN is absent.
    pub values: Vec<f32>,
}

/// Where an output's values are in a frame; empty if it has no frames.
pub fn frame_columns(descriptor: &'static Descriptor, output: &str) -> Range<usize> {
    let mut first = 0;
    for (found, series) in descriptor.series().filter(|(_, series)| series.hop.is_some()) {
        let end = first + usize::from(series.dimensions);
        if found.name == output {
            return first..end;
        }
        first = end;
    }
    0..0
}

/// Values per frame of an algorithm; 0 if it has no frames.
pub(crate) fn frame_width(descriptor: &'static Descriptor) -> usize {
    let framed = descriptor.series().filter(|(_, series)| series.hop.is_some());
    framed.map(|(_, series)| usize::from(series.dimensions)).sum()
}

/// Where frame `index` of a grid begins, in µs.
pub(crate) fn frame_start(hop: Hop, index: i64) -> i64 {
    let numerator = i128::from(index) * i128::from(hop.samples) * 1_000_000;
    numerator.div_euclid(i128::from(hop.rate.max(1))) as i64
}

/// The first frame of a minute: the first that begins in it.
fn first_of_minute(hop: Hop, minute: i64) -> i64 {
    let numerator = i128::from(minute) * 60 * i128::from(hop.rate);
    let hop = i128::from(hop.samples.max(1));
    ((numerator + hop - 1).div_euclid(hop)) as i64
}

/// Gathers the frames of one minute. After the format byte, each frame is: how many frames are skipped, and its
/// row.
pub(crate) struct FrameEncoder {
    minute: i64,
    next: i64,
    rows: Rows,
    out: Vec<u8>,
}

impl FrameEncoder {
    pub(crate) fn new(descriptor: &'static Descriptor, hop: Hop, minute: i64) -> FrameEncoder {
        let next = first_of_minute(hop, minute);
        FrameEncoder { minute, next, rows: Rows::new(frame_width(descriptor)), out: vec![FORMAT] }
    }

    pub(crate) fn minute(&self) -> i64 {
        self.minute
    }

    pub(crate) fn push(&mut self, index: i64, values: &[f32]) {
        put_varint(&mut self.out, (index - self.next).max(0) as u64);
        self.rows.put(&mut self.out, values);
        self.next = index + 1;
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// The frames of a block of the layer [`FRAMES`], in time order. Any bytes are safe to give.
pub fn decode_frames(descriptor: &'static Descriptor, minute: i64, bytes: &[u8]) -> Result<Vec<Frame>, CellError> {
    let mut input = open(bytes)?;
    let hop = descriptor.hop().ok_or(CellError::Range("layer"))?;
    let in_range = (i64::MIN / 60_000_000..i64::MAX / 60_000_000).contains(&minute);
    if !in_range {
        return Err(CellError::Range("minute"));
    }
    let end = first_of_minute(hop, minute + 1);
    let mut next = first_of_minute(hop, minute);
    let mut rows = Rows::new(frame_width(descriptor));
    let mut frames = Vec::new();
    while !input.is_empty() {
        let skipped = input.varint()?;
        if skipped >= (end - next).max(0) as u64 {
            return Err(CellError::Range("frame"));
        }
        let index = next + skipped as i64;
        frames.push(Frame { start: frame_start(hop, index), values: rows.take(&mut input)? });
        next = index + 1;
    }
    Ok(frames)
}
