//! RIFF WAVE, read front to back, so that a pipe will do; RF64 and BW64, which hold lengths of 64 bits.
//!
//! Source: Microsoft, "Multiple Channel Audio Data and WAVE Files" (2007), EBU Tech 3306 (RF64), ITU-R BS.2088-1 (BW64),
//! and what arecord, ffmpeg and sox write when they cannot go back to fill in the lengths.

use std::io::{ErrorKind, Read};

use crate::decode::Info;
use crate::input::Input;
use crate::pcm::{Encoding, Kind, Layout, Order, PcmReader};
use crate::{AudioError, Format};

const TAG_INTEGER: u16 = 1;
const TAG_FLOAT: u16 = 3;
const TAG_EXTENSIBLE: u16 = 0xfffe;
/// The last 14 bytes of the sub-formats that stand for an old format tag.
pub(crate) const SUBFORMAT_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// From here on a length of the samples, or of the whole, stands for "not known when it was written".
pub(crate) const STREAM_LENGTHS_FROM: u32 = 0x7fff_0000;

/// Reads all up to the first sample.
pub(crate) fn open(mut source: Input) -> Result<(PcmReader, Info), AudioError> {
    let mut riff = [0; 12];
    read_header(&mut source, &mut riff)?;
    let riff_length = u32_at(&riff, 4);
    let has_wide_lengths = !riff.starts_with(b"RIFF");
    let mut position = 12_u64;
    let mut layout = None;
    let mut wide_length = None;
    let (layout, length) = loop {
        let mut chunk = [0; 8];
        read_header(&mut source, &mut chunk)?;
        position += 8;
        let length = u32_at(&chunk, 4);
        match (&chunk[..4], layout) {
            (b"data", Some(layout)) => break (layout, length),
            (b"data", None) => return Err(malformed("the samples come before their format")),
            (b"fmt ", None) => layout = Some(read_layout(&mut source, length)?),
            (b"ds64", _) if has_wide_lengths && wide_length.is_none() && length >= 16 => {
                let mut lengths = [0; 16];
                read_header(&mut source, &mut lengths)?;
                skip(&mut source, u64::from(length) - 16)?;
                wide_length = Some(u64::from(u32_at(&lengths, 12)) << 32 | u64::from(u32_at(&lengths, 8)));
            }
            (_, known) => {
                skip(&mut source, u64::from(length))?;
                layout = known;
            }
        }
        if length % 2 == 1 {
            skip(&mut source, 1)?;
        }
        position += u64::from(length) + u64::from(length % 2);
    };
    let length = match (length, wide_length) {
        // What was written to a pipe has 0 or all ones here, too.
        (u32::MAX, Some(length)) => (length > 0 && length < u64::MAX - u64::from(u32::MAX)).then_some(length),
        (length, _) => (!is_stream(riff_length, position, length)).then_some(u64::from(length)),
    };
    let info = layout.info(Format::Wav, length.map(|bytes| bytes / layout.frame_bytes() as u64));
    Ok((PcmReader::new(source, layout, length), info))
}

/// Whether the length of the samples was not known when it was written: 0xFFFFFFFF (ffmpeg), 2 GiB or a little less
/// (arecord, sox), or 0 with nothing else behind it by the length of the whole.
fn is_stream(riff_length: u32, position: u64, length: u32) -> bool {
    match length {
        0 => riff_length == 0 || riff_length >= STREAM_LENGTHS_FROM || u64::from(riff_length) + 8 <= position,
        STREAM_LENGTHS_FROM..=0x8000_0000 | 0xffff_0000.. => true,
        _ => false,
    }
}

fn read_layout(source: &mut impl Read, length: u32) -> Result<Layout, AudioError> {
    if length < 16 {
        return Err(malformed("the format chunk is shorter than 16 bytes"));
    }
    let mut bytes = [0; 40];
    let known = bytes.len().min(length as usize);
    read_header(source, &mut bytes[..known])?;
    skip(source, u64::from(length) - known as u64)?;
    let channels = u16_at(&bytes, 2);
    let rate = u32_at(&bytes, 4);
    let frame_bytes = u16_at(&bytes, 12);
    let bits = u16_at(&bytes, 14);
    let mut tag = u16_at(&bytes, 0);
    if tag == TAG_EXTENSIBLE {
        if known < 40 || bytes[26..40] != SUBFORMAT_TAIL {
            return Err(AudioError::Unsupported("this WAV sub-format".into()));
        }
        tag = u16_at(&bytes, 24);
    }
    crate::decode::check(rate, channels)?;
    if !frame_bytes.is_multiple_of(channels) || u32::from(bits) > 8 * u32::from(frame_bytes / channels) || bits == 0 {
        return Err(malformed("the bits per sample do not fit the bytes per frame"));
    }
    let width = frame_bytes / channels;
    let kind = match (tag, width) {
        (TAG_INTEGER, 1) => Kind::Unsigned,
        (TAG_INTEGER, 2..=4) => Kind::Signed,
        (TAG_FLOAT, 4) if bits == 32 => Kind::Float,
        (TAG_FLOAT, 8) if bits == 64 => Kind::Float,
        (TAG_INTEGER | TAG_FLOAT, _) => return Err(AudioError::Unsupported(format!("WAV with {bits} bit samples"))),
        (tag, _) => return Err(AudioError::Unsupported(format!("WAV with format tag {tag:#06x}"))),
    };
    Ok(Layout { encoding: Encoding { kind, bytes: usize::from(width), order: Order::Little }, channels, rate })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn malformed(reason: &str) -> AudioError {
    AudioError::Malformed { format: Format::Wav, reason: reason.into() }
}

/// Fills `bytes`; the end of the file inside a header means that no sample is left.
pub(crate) fn read_header(source: &mut impl Read, bytes: &mut [u8]) -> Result<(), AudioError> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => AudioError::Truncated { frames: 0 },
        _ => error.into(),
    })
}

/// Reads over `count` bytes.
pub(crate) fn skip(source: &mut impl Read, count: u64) -> Result<(), AudioError> {
    let skipped = std::io::copy(&mut source.take(count), &mut std::io::sink())?;
    if skipped < count {
        return Err(AudioError::Truncated { frames: 0 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOCK_FRAMES;
    use crate::decode::{Decoder, Limits};

    /// A WAV file of chunks, the length of the whole filled in.
    fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
        for (name, body) in chunks {
            bytes.extend(*name);
            bytes.extend((body.len() as u32).to_le_bytes());
            bytes.extend(*body);
            bytes.extend(&[0][..body.len() % 2]);
        }
        let whole = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&whole.to_le_bytes());
        bytes
    }

    fn layout(tag: u16, channels: u16, rate: u32, frame_bytes: u16, bits: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(tag.to_le_bytes());
        bytes.extend(channels.to_le_bytes());
        bytes.extend(rate.to_le_bytes());
        bytes.extend((rate.wrapping_mul(u32::from(frame_bytes))).to_le_bytes());
        bytes.extend(frame_bytes.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes
    }

    fn extensible(tag: u16, channels: u16, frame_bytes: u16, bits: u16, valid: u16) -> Vec<u8> {
        let mut bytes = layout(TAG_EXTENSIBLE, channels, 48_000, frame_bytes, bits);
        bytes.extend(22_u16.to_le_bytes());
        bytes.extend(valid.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(tag.to_le_bytes());
        bytes.extend(SUBFORMAT_TAIL);
        bytes
    }

    type Decoded = (Info, Vec<Vec<f32>>, Option<AudioError>);

    /// All samples, channel by channel, and the error that ended them.
    fn decode(bytes: Vec<u8>) -> Result<Decoded, AudioError> {
        let mut decoder = Decoder::from_bytes(bytes.into(), Limits::default())?;
        let info = *decoder.info();
        let mut channels = vec![Vec::new(); usize::from(info.channels)];
        loop {
            match decoder.next_block() {
                Ok(Some(block)) => {
                    assert!((1..=BLOCK_FRAMES).contains(&block.frames()));
                    channels.iter_mut().zip(block.channels()).for_each(|(all, part)| all.extend_from_slice(part));
                }
                Ok(None) => return Ok((info, channels, None)),
                Err(error) => {
                    assert!(decoder.next_block().is_ok_and(|block| block.is_none()), "an error ends the file");
                    return Ok((info, channels, Some(error)));
                }
            }
        }
    }

    #[test]
    fn every_encoding_has_the_same_full_scale() {
        let half_and_least = [
            (layout(1, 1, 8_000, 1, 8), vec![192, 0]),
            (layout(1, 1, 8_000, 2, 16), vec![0, 0x40, 0, 0x80]),
            (layout(1, 1, 8_000, 3, 24), vec![0, 0, 0x40, 0, 0, 0x80]),
            (layout(1, 1, 8_000, 4, 32), vec![0, 0, 0, 0x40, 0, 0, 0, 0x80]),
            (layout(3, 1, 8_000, 4, 32), [0.5_f32.to_le_bytes(), (-1.0_f32).to_le_bytes()].concat()),
            (layout(3, 1, 8_000, 8, 64), [0.5_f64.to_le_bytes(), (-1.0_f64).to_le_bytes()].concat()),
            (extensible(1, 1, 2, 16, 16), vec![0, 0x40, 0, 0x80]),
            (extensible(1, 1, 3, 24, 20), vec![0, 0, 0x40, 0, 0, 0x80]),
            (extensible(3, 1, 4, 32, 32), [0.5_f32.to_le_bytes(), (-1.0_f32).to_le_bytes()].concat()),
            // 20 bits at the top of three bytes, without the extensible form.
            (layout(1, 1, 8_000, 3, 20), vec![0, 0, 0x40, 0, 0, 0x80]),
        ];
        for (layout, samples) in half_and_least {
            let (info, channels, error) = decode(file(&[(b"fmt ", &layout), (b"data", &samples)])).unwrap();
            assert_eq!(channels, [[0.5, -1.0]], "{layout:?}");
            assert_eq!(info.frames, Some(2));
            assert!(error.is_none());
        }
    }

    #[test]
    fn unknown_and_odd_chunks_are_passed() {
        let samples = [1, 0, 2, 0, 3, 0, 4, 0];
        let layout = layout(1, 2, 8_000, 4, 16);
        let chunks: &[(&[u8; 4], &[u8])] =
            &[(b"JUNK", b"odd"), (b"fmt ", &layout), (b"LIST", b"INFOISFT"), (b"data", &samples), (b"id3 ", b"tail")];
        let (_, channels, error) = decode(file(chunks)).unwrap();
        assert_eq!(channels, [[1.0, 3.0].map(|value| value / 32_768.0), [2.0, 4.0].map(|value| value / 32_768.0)]);
        assert!(error.is_none());
    }

    #[test]
    fn streams_go_on_to_the_end() {
        let mut bytes = file(&[(b"fmt ", &layout(1, 1, 8_000, 2, 16)), (b"data", &[0, 1, 0, 2, 0])]);
        bytes.pop();
        let length = bytes.len() - 5 - 4;
        for (whole, data) in [
            (0, 0),
            (u32::MAX, u32::MAX),
            (u32::MAX, 0),
            (36, 0),
            (0x8000_0024, 0x8000_0000),
            (0x7fff_f024, 0x7fff_f000),
        ] {
            bytes[4..8].copy_from_slice(&u32::to_le_bytes(whole));
            bytes[length..length + 4].copy_from_slice(&u32::to_le_bytes(data));
            let (info, channels, error) = decode(bytes.clone()).unwrap();
            // Half a sample at the end of a stream is no error: pipes break anywhere.
            assert_eq!((info.frames, channels[0].len()), (None, 2), "{whole:#x} {data:#x}");
            assert!(error.is_none());
        }
        let empty = file(&[(b"fmt ", &layout(1, 1, 8_000, 2, 16)), (b"data", &[]), (b"LIST", b"INFO")]);
        let (info, channels, error) = decode(empty).unwrap();
        assert_eq!((info.frames, channels[0].len()), (Some(0), 0));
        assert!(error.is_none());
    }

    #[test]
    fn truncated_files_yield_what_is_there() {
        let samples: Vec<u8> = (0..40_000).map(|n| n as u8).collect();
        let bytes = file(&[(b"fmt ", &layout(1, 2, 8_000, 4, 16)), (b"data", &samples)]);
        for cut in [0, 1, 3, 4, 5, 39_999, 40_000] {
            let (_, channels, error) = decode(bytes[..bytes.len() - cut].to_vec()).unwrap();
            let frames = (40_000 - cut) / 4;
            assert_eq!(channels[0].len(), frames);
            match error {
                None => assert_eq!(cut, 0),
                Some(AudioError::Truncated { frames: told }) => assert_eq!(told, frames as u64),
                Some(error) => panic!("{error}"),
            }
        }
        for length in 12..bytes.len() - 40_000 {
            assert!(matches!(decode(bytes[..length].to_vec()), Err(AudioError::Truncated { frames: 0 })), "{length}");
        }
    }

    #[test]
    fn not_numbers_become_zero_and_are_counted() {
        let samples = [f32::NAN, 0.25, f32::INFINITY, f32::NEG_INFINITY, 3.0].map(f32::to_le_bytes).concat();
        let bytes = file(&[(b"fmt ", &layout(3, 1, 8_000, 4, 32)), (b"data", &samples)]);
        let mut decoder = Decoder::from_bytes(bytes.into(), Limits::default()).unwrap();
        assert_eq!(decoder.next_block().unwrap().unwrap().channels(), [[0.0, 0.25, 0.0, 0.0, 3.0]]);
        assert_eq!(decoder.replaced(), 3);
        assert!(matches!(decoder.next_integers(), Err(AudioError::NotInteger)));
    }

    #[test]
    fn what_is_not_decoded_is_refused_by_name() {
        let refusal = |layout: &[u8]| decode(file(&[(b"fmt ", layout), (b"data", &[0; 64])])).unwrap_err();
        assert!(matches!(refusal(&layout(1, 9, 8_000, 18, 16)), AudioError::Channels(9)));
        assert!(matches!(refusal(&layout(1, 0, 8_000, 0, 16)), AudioError::Channels(0)));
        assert!(matches!(refusal(&layout(1, 1, 999, 2, 16)), AudioError::Rate(999)));
        assert!(matches!(refusal(&layout(1, 1, 768_001, 2, 16)), AudioError::Rate(768_001)));
        assert!(matches!(refusal(&layout(0x55, 1, 8_000, 2, 16)), AudioError::Unsupported(_)));
        assert!(matches!(refusal(&layout(1, 1, 8_000, 8, 64)), AudioError::Unsupported(_)));
        assert!(matches!(refusal(&layout(3, 1, 8_000, 2, 16)), AudioError::Unsupported(_)));
        assert!(matches!(refusal(&layout(1, 2, 8_000, 3, 16)), AudioError::Malformed { .. }));
        assert!(matches!(refusal(&layout(1, 1, 8_000, 1, 16)), AudioError::Malformed { .. }));
        assert!(matches!(refusal(&layout(1, 1, 8_000, 0, 16)), AudioError::Malformed { .. }));
        assert!(matches!(refusal(&layout(1, 1, 8_000, 2, 16)[..14]), AudioError::Malformed { .. }));
        assert!(matches!(decode(file(&[(b"data", &[0; 8])])), Err(AudioError::Malformed { .. })));
        assert!(matches!(decode(b"RIFF".to_vec()), Err(AudioError::Unknown)));
    }

    #[test]
    fn the_limit_of_duration_holds_for_claims_and_for_streams() {
        let limits = Limits { duration: std::time::Duration::from_secs(2) };
        let mut bytes = file(&[(b"fmt ", &layout(1, 1, 8_000, 2, 16)), (b"data", &[0; 32_002])]);
        assert!(matches!(Decoder::from_bytes(bytes.clone().into(), limits), Err(AudioError::TooLong { .. })));
        let length = bytes.len() - 32_002 - 4;
        bytes[length..length + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut decoder = Decoder::from_bytes(bytes.into(), limits).unwrap();
        let error = loop {
            match decoder.next_block() {
                Ok(block) => assert!(block.is_some()),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AudioError::TooLong { .. }));
    }
}
