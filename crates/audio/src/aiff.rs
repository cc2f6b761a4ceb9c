//! AIFF and AIFF-C, read front to back.
//!
//! Source: Apple, "Audio Interchange File Format" (1989) and "AIFF-C" (draft of 1991); the compression types beyond
//! these are those that QuickTime, sox and ffmpeg write.

use crate::decode::Info;
use crate::input::Input;
use crate::pcm::{Encoding, Kind, Layout, Order, PcmReader};
use crate::wav::{read_header, skip};
use crate::{AudioError, Format};

/// Reads all up to the first sample.
pub(crate) fn open(mut source: Input) -> Result<(PcmReader, Info), AudioError> {
    let mut form = [0; 12];
    read_header(&mut source, &mut form)?;
    let is_compressed = form.ends_with(b"AIFC");
    let mut common = None;
    loop {
        let mut chunk = [0; 8];
        read_header(&mut source, &mut chunk)?;
        let length = u32::from_be_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        match (&chunk[..4], common) {
            (b"COMM", None) => common = Some(read_common(&mut source, length, is_compressed)?),
            (b"SSND", Some(common)) => return open_samples(source, length, common),
            (b"SSND", None) => return Err(malformed("the samples come before their format")),
            _ => skip(&mut source, u64::from(length))?,
        }
        skip(&mut source, u64::from(length % 2))?;
    }
}

/// The `COMM` chunk: how samples lie, and how many frames there are.
fn read_common(source: &mut Input, length: u32, is_compressed: bool) -> Result<(Layout, u32), AudioError> {
    let least = if is_compressed { 22 } else { 18 };
    if length < least {
        return Err(malformed("the common chunk is too short"));
    }
    let mut bytes = [0; 22];
    read_header(source, &mut bytes[..least as usize])?;
    skip(source, u64::from(length - least))?;
    let channels = u16::from_be_bytes([bytes[0], bytes[1]]);
    let frames = u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
    let bits = u16::from_be_bytes([bytes[6], bytes[7]]);
    let rate = rate(&bytes[8..18]);
    crate::decode::check(rate, channels)?;
    let width = usize::from(bits.div_ceil(8));
    let encoding = |kind, bytes, order| Encoding { kind, bytes, order };
    let encoding = match (if is_compressed { &bytes[18..22] } else { b"NONE" }, width) {
        (b"NONE" | b"twos", 1..=4) => encoding(Kind::Signed, width, Order::Big),
        (b"sowt", 1..=4) => encoding(Kind::Signed, width, Order::Little),
        (b"raw ", 1) => encoding(Kind::Unsigned, 1, Order::Big),
        (b"in24", _) => encoding(Kind::Signed, 3, Order::Big),
        (b"in32", _) => encoding(Kind::Signed, 4, Order::Big),
        (b"42ni", _) => encoding(Kind::Signed, 3, Order::Little),
        (b"23ni", _) => encoding(Kind::Signed, 4, Order::Little),
        (b"fl32" | b"FL32", _) => encoding(Kind::Float, 4, Order::Big),
        (b"fl64" | b"FL64", _) => encoding(Kind::Float, 8, Order::Big),
        (b"NONE" | b"twos" | b"sowt" | b"raw ", _) => {
            return Err(AudioError::Unsupported(format!("AIFF with {bits} bit samples")));
        }
        (name, _) => {
            return Err(AudioError::Unsupported(format!("AIFF-C with compression {}", name.escape_ascii())));
        }
    };
    Ok((Layout { encoding, channels, rate }, frames))
}

fn open_samples(
    mut source: Input,
    length: u32,
    (layout, frames): (Layout, u32),
) -> Result<(PcmReader, Info), AudioError> {
    let mut header = [0; 8];
    read_header(&mut source, &mut header)?;
    let offset = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    skip(&mut source, u64::from(offset))?;
    let claimed = u64::from(frames) * layout.frame_bytes() as u64;
    // What was written to a pipe has no true lengths: ffmpeg leaves 0 frames, and a chunk of its header alone.
    let is_stream = frames == 0 && length <= 8 || length >= crate::wav::STREAM_LENGTHS_FROM;
    let length = (!is_stream).then(|| claimed.min(u64::from(length).saturating_sub(8 + u64::from(offset))));
    let info = layout.info(Format::Aiff, length.map(|bytes| bytes / layout.frame_bytes() as u64));
    Ok((PcmReader::new(source, layout, length), info))
}

/// An IEEE 754 extended number, to the nearest integer; 0 for what no rate can be.
fn rate(bytes: &[u8]) -> u32 {
    let exponent = i32::from(u16::from_be_bytes([bytes[0], bytes[1]])) - 16_383;
    let mantissa = bytes[2..10].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if !(0..=31).contains(&exponent) {
        return 0;
    }
    // The mantissa has its one in front: 63 - exponent bits are behind the point.
    let doubled = mantissa >> (62 - exponent);
    u32::try_from(doubled.div_ceil(2)).unwrap_or(0)
}

fn malformed(reason: &str) -> AudioError {
    AudioError::Malformed { format: Format::Aiff, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decoder, Limits};

    /// 44,100 as an extended number.
    const RATE: [u8; 10] = [0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0];

    /// A compression, bits, and bytes of samples.
    type Case = (Option<&'static [u8; 4]>, u16, Vec<u8>);

    fn file(compression: Option<&[u8; 4]>, bits: u16, frames: u32, samples: &[u8]) -> Vec<u8> {
        let mut common = 1_u16.to_be_bytes().to_vec();
        common.extend(frames.to_be_bytes());
        common.extend(bits.to_be_bytes());
        common.extend(RATE);
        common.extend(compression.iter().flat_map(|name| name.iter()));
        let sound = [&[0; 8], samples].concat();
        let mut bytes = if compression.is_some() { b"FORM\0\0\0\0AIFC".to_vec() } else { b"FORM\0\0\0\0AIFF".to_vec() };
        for (name, body) in [(b"NAME", b"odd".as_slice()), (b"COMM", &common), (b"SSND", &sound)] {
            bytes.extend(name);
            bytes.extend((body.len() as u32).to_be_bytes());
            bytes.extend(body);
            bytes.extend(&[0][..body.len() % 2]);
        }
        bytes
    }

    fn decode(bytes: Vec<u8>) -> Result<(Info, Vec<f32>), AudioError> {
        let mut decoder = Decoder::from_bytes(bytes.into(), Limits::default())?;
        let mut samples = Vec::new();
        while let Some(block) = decoder.next_block()? {
            samples.extend_from_slice(block.channels()[0]);
        }
        Ok((*decoder.info(), samples))
    }

    #[test]
    fn every_encoding_has_the_same_full_scale() {
        let (half, least) = (0.5_f32, -1.0_f32);
        let half_and_least: [Case; 10] = [
            (None, 8, vec![0x40, 0x80]),
            (None, 16, vec![0x40, 0, 0x80, 0]),
            (None, 12, vec![0x40, 0, 0x80, 0]),
            (None, 24, vec![0x40, 0, 0, 0x80, 0, 0]),
            (Some(b"NONE"), 32, vec![0x40, 0, 0, 0, 0x80, 0, 0, 0]),
            (Some(b"sowt"), 16, vec![0, 0x40, 0, 0x80]),
            (Some(b"raw "), 8, vec![192, 0]),
            (Some(b"in24"), 16, vec![0x40, 0, 0, 0x80, 0, 0]),
            (Some(b"fl32"), 32, [half.to_be_bytes(), least.to_be_bytes()].concat()),
            (Some(b"FL64"), 64, [f64::from(half).to_be_bytes(), f64::from(least).to_be_bytes()].concat()),
        ];
        for (compression, bits, samples) in half_and_least {
            let (info, decoded) = decode(file(compression, bits, 2, &samples)).unwrap();
            assert_eq!((info.rate, info.frames, decoded.as_slice()), (44_100, Some(2), [half, least].as_slice()));
        }
    }

    #[test]
    fn rates_are_rounded_and_absurd_ones_refused() {
        assert_eq!(rate(&RATE), 44_100);
        assert_eq!(rate(&[0x40, 0x0d, 0xac, 0x44, 0x80, 0, 0, 0, 0, 0]), 22_050);
        assert_eq!(rate(&[0x40, 0x1e, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 0);
        assert_eq!(rate(&[0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]), 0);
        assert_eq!(rate(&[0; 10]), 0);
    }

    #[test]
    fn claims_end_what_is_read_and_streams_go_on() {
        let (info, samples) = decode(file(None, 16, 1, &[0x40, 0, 0x80, 0])).unwrap();
        assert_eq!((info.frames, samples.len()), (Some(1), 1));
        let error = decode(file(None, 16, 9, &[0x40, 0, 0x80, 0])).map(|_| ());
        assert!(matches!(error, Ok(())), "the chunk ends it");
        let mut stream = file(None, 16, 0, &[0x40, 0, 0x80, 0]);
        let length = stream.len() - 4 - 8 - 4;
        stream[length..length + 4].copy_from_slice(&[0, 0, 0, 8]);
        let (info, samples) = decode(stream).unwrap();
        assert_eq!((info.frames, samples.len()), (None, 2));
        let mut cut = file(None, 16, 2, &[0x40, 0, 0x80, 0]);
        cut.pop();
        assert!(matches!(decode(cut), Err(AudioError::Truncated { frames: 1 })));
        assert!(matches!(decode(file(Some(b"ulaw"), 16, 2, &[0, 0])), Err(AudioError::Unsupported(_))));
    }
}
