//! Uncompressed samples, read as they come.

use std::io::{ErrorKind, Read};

use crate::coded::Codec;
use crate::decode::{Info, Planes};
use crate::input::Input;
use crate::{AudioError, BLOCK_FRAMES, Format};

/// How one sample lies in the file. Integers fill their container from the top, so a container with fewer valid bits
/// (20 in 24) is read as a whole: the same value, and nothing is lost if the low bits are not 0 after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) kind: Kind,
    /// Bytes of a sample: 1 to 4 for integers, 4 or 8 for floating point.
    pub(crate) bytes: usize,
    pub(crate) order: Order,
}

/// What the bytes of a sample are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An integer with its middle at half of its range.
    Unsigned,
    /// An integer in two's complement.
    Signed,
    /// IEEE 754.
    Float,
}

/// Which byte comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

/// The facts of uncompressed samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) encoding: Encoding,
    pub(crate) channels: u16,
    pub(crate) rate: u32,
}

impl Layout {
    /// What is known of a file of `frames` such samples.
    pub(crate) fn info(&self, format: Format, frames: Option<u64>) -> Info {
        Info {
            format,
            rate: self.rate,
            channels: self.channels,
            bits: 8 * self.encoding.bytes as u16,
            float: self.encoding.kind == Kind::Float,
            frames,
        }
    }

    pub(crate) fn frame_bytes(&self) -> usize {
        self.encoding.bytes * usize::from(self.channels)
    }
}

/// Interleaved samples up to the end of a chunk or file.
pub(crate) struct PcmReader {
    source: Input,
    layout: Layout,
    /// Bytes of samples that are still to come; `None` for a stream, which ends where it ends.
    remaining: Option<u64>,
    /// Bytes read: whole frames are taken from the front.
    buffer: Vec<u8>,
    filled: usize,
    frames: u64,
}

impl PcmReader {
    /// Reads `length` bytes of samples, which come next.
    pub(crate) fn new(source: Input, layout: Layout, length: Option<u64>) -> Self {
        let buffer = vec![0; BLOCK_FRAMES * layout.frame_bytes()];
        Self { source, layout, remaining: length, buffer, filled: 0, frames: 0 }
    }

    /// Decodes what is there, at least one frame, and returns how many frames; 0 at the end.
    pub(crate) fn fill(&mut self, planes: &mut Planes) -> Result<usize, AudioError> {
        let frame_bytes = self.layout.frame_bytes();
        while self.filled < frame_bytes {
            let wanted =
                self.remaining.map_or(usize::MAX, |remaining| usize::try_from(remaining).unwrap_or(usize::MAX));
            let end = self.filled + wanted.min(self.buffer.len() - self.filled);
            if end == self.filled {
                return Ok(0);
            }
            match self.source.read(&mut self.buffer[self.filled..end]) {
                Ok(0) if self.remaining.is_some() => return Err(AudioError::Truncated { frames: self.frames }),
                Ok(0) => return Ok(0),
                Ok(count) => {
                    self.filled += count;
                    self.remaining = self.remaining.map(|remaining| remaining - count as u64);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let frames = self.filled / frame_bytes;
        let whole = frames * frame_bytes;
        deinterleave(&self.buffer[..whole], &self.layout, planes);
        self.buffer.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        self.frames += frames as u64;
        Ok(frames)
    }
}

/// Uncompressed samples in packets.
pub(crate) struct PcmCodec {
    layout: Layout,
    /// The packet that came last: whole frames.
    packet: Vec<u8>,
}

impl PcmCodec {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, packet: Vec::new() }
    }
}

impl Codec for PcmCodec {
    fn decode(&mut self, packet: &[u8]) -> Result<usize, String> {
        let frames = packet.len() / self.layout.frame_bytes();
        self.packet.clear();
        self.packet.extend_from_slice(&packet[..frames * self.layout.frame_bytes()]);
        Ok(frames)
    }

    fn copy(&self, frames: std::ops::Range<usize>, planes: &mut Planes) {
        let bytes = self.layout.frame_bytes();
        deinterleave(&self.packet[frames.start * bytes..frames.end * bytes], &self.layout, planes);
    }
}

/// Takes interleaved samples apart. `bytes` holds whole frames, at most [`BLOCK_FRAMES`].
pub(crate) fn deinterleave(bytes: &[u8], layout: &Layout, planes: &mut Planes) {
    let Encoding { kind, bytes: width, order } = layout.encoding;
    let channels = usize::from(layout.channels);
    match (kind, width, order) {
        (Kind::Unsigned, _, _) => integers(bytes, channels, planes, |[byte]| i32::from(byte) - 128),
        (Kind::Signed, 1, _) => integers(bytes, channels, planes, |[byte]| i32::from(byte as i8)),
        (Kind::Signed, 2, Order::Little) => {
            integers(bytes, channels, planes, |bytes| i32::from(i16::from_le_bytes(bytes)));
        }
        (Kind::Signed, 2, Order::Big) => {
            integers(bytes, channels, planes, |bytes| i32::from(i16::from_be_bytes(bytes)));
        }
        (Kind::Signed, 3, Order::Little) => {
            integers(bytes, channels, planes, |[a, b, c]| i32::from_le_bytes([0, a, b, c]) >> 8);
        }
        (Kind::Signed, 3, Order::Big) => {
            integers(bytes, channels, planes, |[a, b, c]| i32::from_be_bytes([a, b, c, 0]) >> 8);
        }
        (Kind::Signed, _, Order::Little) => integers(bytes, channels, planes, i32::from_le_bytes),
        (Kind::Signed, _, Order::Big) => integers(bytes, channels, planes, i32::from_be_bytes),
        (Kind::Float, 4, Order::Little) => floats(bytes, channels, planes, f32::from_le_bytes),
        (Kind::Float, 4, Order::Big) => floats(bytes, channels, planes, f32::from_be_bytes),
        (Kind::Float, _, Order::Little) => floats(bytes, channels, planes, |bytes| f64::from_le_bytes(bytes) as f32),
        (Kind::Float, _, Order::Big) => floats(bytes, channels, planes, |bytes| f64::from_be_bytes(bytes) as f32),
    }
}

fn integers<const N: usize>(bytes: &[u8], channels: usize, planes: &mut Planes, sample: impl Fn([u8; N]) -> i32) {
    let (samples, _) = bytes.as_chunks::<N>();
    for (channel, plane) in planes.integers.iter_mut().enumerate() {
        plane.clear();
        plane.extend(samples.iter().skip(channel).step_by(channels).map(|bytes| sample(*bytes)));
    }
}

fn floats<const N: usize>(bytes: &[u8], channels: usize, planes: &mut Planes, sample: impl Fn([u8; N]) -> f32) {
    let (samples, _) = bytes.as_chunks::<N>();
    for (channel, plane) in planes.floats.iter_mut().enumerate() {
        plane.clear();
        plane.extend(samples.iter().skip(channel).step_by(channels).map(|bytes| sample(*bytes)));
    }
    planes.replace_what_is_no_number();
}
