//! What the fuzz targets do with bytes. The test `corpus` does the same with all files that are kept in
//! `fuzz/corpus`, so that what fuzzing has found stays fixed.

use std::io::Cursor;

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_audio::{AudioError, BLOCK_FRAMES, MAX_CHANNELS, MAX_RATE, MIN_RATE, sniff};

/// Decodes any bytes in both ways and checks what holds for every file.
pub fn decode(bytes: &[u8]) {
    let opened = || Decoder::from_bytes(bytes::Bytes::copy_from_slice(bytes), Limits::default());
    let as_floats = frames(opened(), bytes, |decoder| {
        let first = decoder.position();
        let block = decoder.next_block()?;
        Ok(block.map(|block| {
            let samples = block.channels().iter().flat_map(|channel| channel.iter());
            assert!(samples.clone().all(|sample| sample.is_finite()));
            assert_eq!(block.first(), first);
            assert!(block.channels().iter().all(|channel| channel.len() == block.frames()));
            (block.frames(), block.channels().len())
        }))
    });
    let as_integers = frames(opened(), bytes, |decoder| {
        let limit = 1_i64 << (decoder.info().bits - 1);
        let block = decoder.next_integers()?;
        Ok(block.map(|block| {
            let mut samples = block.channels().iter().flat_map(|channel| channel.iter());
            assert!(samples.all(|sample| (-limit..limit).contains(&i64::from(*sample))));
            (block.frames(), block.channels().len())
        }))
    });
    assert!(as_integers.is_none_or(|integers| Some(integers) == as_floats));
    // A pipe cannot be gone back in; some files then yield less, none more.
    let piped = Decoder::open(Cursor::new(bytes.to_vec()), Limits::default());
    let from_pipe =
        frames(piped, bytes, |decoder| Ok(decoder.next_block()?.map(|block| (block.frames(), block.channels().len()))));
    assert!(from_pipe <= as_floats);
}

type Shape = Option<(usize, usize)>;

/// Frames that a whole file yields by `next`; `None` if it does not open or is not of that kind.
fn frames(
    opened: Result<Decoder, AudioError>,
    bytes: &[u8],
    mut next: impl FnMut(&mut Decoder) -> Result<Shape, AudioError>,
) -> Option<u64> {
    let mut decoder = match opened {
        Ok(decoder) => decoder,
        Err(error) => {
            assert!(error.is_permanent() && !error.to_string().is_empty());
            return None;
        }
    };
    let info = *decoder.info();
    // What is behind a long tag shows only when the tag was read.
    assert!(bytes.starts_with(b"ID3") || sniff(bytes) == Some(info.format));
    assert!((1..=MAX_CHANNELS).contains(&usize::from(info.channels)) && (MIN_RATE..=MAX_RATE).contains(&info.rate));
    let mut total = 0;
    let mut failure = None;
    loop {
        match next(&mut decoder) {
            Ok(Some((frames, channels))) => {
                assert!((1..=BLOCK_FRAMES).contains(&frames) && channels == usize::from(info.channels));
                total += frames as u64;
                assert_eq!(decoder.position(), total);
            }
            Ok(None) => break,
            Err(AudioError::NotInteger) => return None,
            Err(error) => {
                assert!(failure.is_none() && error.is_permanent(), "{error}");
                failure = Some(error);
            }
        }
    }
    if failure.is_none() {
        assert!(info.frames.is_none_or(|frames| total >= frames), "an end without an error is the end");
    }
    Some(total)
}

/// Chunks in a RIFF WAVE file.
pub fn wav(chunks: &[u8]) {
    let mut bytes = b"RIFF\xff\xff\xff\xffWAVE".to_vec();
    bytes.extend_from_slice(chunks);
    decode(&bytes);
}

/// A FLAC file of one frame. The first four bytes choose block size, coupling, bits and the length of the file, the
/// rest are the subframes.
pub fn flac(bytes: &[u8]) {
    let [size, coupling, bits, total, subframes @ ..] = bytes else { return };
    let block_size = u64::from(*size) + 16;
    let coupling = coupling % 11;
    let channels = if coupling < 8 { u64::from(coupling) + 1 } else { 2 };
    let (bits, bits_code) = [(8_u64, 1_u8), (12, 2), (16, 4), (20, 5), (24, 6), (32, 7)][usize::from(bits % 6)];
    let total = [0, block_size, block_size * 2][usize::from(total % 3)];

    let mut file = b"fLaC\x80\0\0\x22".to_vec();
    file.extend([(block_size as u16).to_be_bytes(); 2].concat());
    file.extend([0; 6]);
    file.extend((8_000 << 44 | (channels - 1) << 41 | (bits - 1) << 36 | total).to_be_bytes());
    file.extend([0; 16]);
    let start = file.len();
    file.extend([0xff, 0xf8, 0x70, coupling << 4 | bits_code << 1, 0]);
    file.extend((block_size as u16 - 1).to_be_bytes());
    file.push(checksum(&file[start..], 8, 0x07) as u8);
    file.extend_from_slice(subframes);
    let crc = checksum(&file[start..], 16, 0x8005) as u16;
    file.extend(crc.to_be_bytes());
    decode(&file);
}

/// The checksums of FLAC (RFC 9639, sections 9.1.8 and 9.3) and Ogg (RFC 3533): no reflection, starting from 0.
fn checksum(bytes: &[u8], width: u32, polynomial: u32) -> u32 {
    let top = 1_u32 << (width - 1);
    let mut remainder = 0_u32;
    for byte in bytes {
        remainder ^= u32::from(*byte) << (width - 8);
        for _ in 0..8 {
            let shifted = remainder << 1;
            remainder = if remainder & top != 0 { shifted ^ polynomial } else { shifted };
        }
        remainder &= top | (top - 1);
    }
    remainder
}

/// An Ogg file whose pages have the right checksums, whatever is in them.
pub fn ogg(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = file.get(at..at + 27) {
        let count = usize::from(header[26]);
        let body: usize = file[at + 27..].iter().take(count).map(|length| usize::from(*length)).sum();
        let Some(page) = file.get_mut(at..at + 27 + count + body) else { break };
        page[..5].copy_from_slice(b"OggS\0");
        page[22..26].fill(0);
        let crc = checksum(page, 32, 0x04c1_1db7);
        page[22..26].copy_from_slice(&crc.to_le_bytes());
        at += page.len();
    }
    decode(&file);
}

/// Boxes of an MP4 file.
pub fn mp4(boxes: &[u8]) {
    decode(&[b"\0\0\0\x10ftypM4A \0\0\0\0", boxes].concat());
}

/// Elements of a Matroska segment.
pub fn matroska(elements: &[u8]) {
    decode(&[MATROSKA_HEAD, elements].concat());
}

const MATROSKA_HEAD: &[u8] = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff";

/// Frames of MP3, or of AAC if the first byte is odd, behind an empty tag, so that whatever comes is looked at.
pub fn mpeg(bytes: &[u8]) {
    let Some((kind, frames)) = bytes.split_first() else { return };
    let tag: &[u8] = if kind & 1 == 0 { b"ID3\x04\0\0\0\0\0\0" } else { b"" };
    decode(&[tag, frames].concat());
}

/// Packets of one codec in a container that checks nothing. The first byte chooses the codec, the second its channels;
/// then come packets, each behind its length in two bytes. For Vorbis the first two are its headers, for FLAC and
/// ALAC the first one is its description.
pub fn packets(bytes: &[u8]) {
    let [codec, channels, rest @ ..] = bytes else { return };
    let mut rest = rest;
    let mut packets = Vec::new();
    while let [high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        packets.push(&behind[..length]);
        rest = &behind[length..];
    }
    let mut packets = packets.into_iter();
    let mut next = || packets.next().unwrap_or_default();
    let channels = 1 + channels % 2;
    let (name, private): (&[u8], Vec<u8>) = match codec % 6 {
        0 => (b"A_MPEG/L3", Vec::new()),
        1 => (b"A_AAC", vec![0x12, channels << 3]),
        2 => (b"A_ALAC", next().to_vec()),
        3 => (b"A_FLAC", [b"fLaC\x80\0\0\x22", next()].concat()),
        4 => (b"A_OPUS", [b"OpusHead\x01", &[channels][..], &[0; 9]].concat()),
        _ => {
            let (identification, setup) = (next(), next());
            let lengths = [2, identification.len().min(254) as u8, 0];
            (b"A_VORBIS", [&lengths[..], &identification[..identification.len().min(254)], setup].concat())
        }
    };
    let sound = [element(&[0x9f], &[channels]), element(&[0xb5], &44_100_f32.to_be_bytes())].concat();
    let track = [
        element(&[0xd7], &[1]),
        element(&[0x83], &[2]),
        element(&[0x86], name),
        element(&[0x63, 0xa2], &private),
        element(&[0xe1], &sound),
    ];
    let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &track.concat()));
    let mut file = [MATROSKA_HEAD, &tracks, b"\x1f\x43\xb6\x75\xff"].concat();
    for packet in packets {
        file.extend(element(&[0xa3], &[b"\x81\0\0\0", packet].concat()));
    }
    decode(&file);
}

/// An element of EBML, its length in eight bytes.
fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u64 | 1 << 56).to_be_bytes();
    [id, &length, body].concat()
}
