//! What the fuzz targets do with bytes. The test `corpus` does the same with all files that are kept in
//! `fuzz/corpus`, so that what fuzzing has found stays fixed.

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_audio::{BLOCK_FRAMES, MAX_CHANNELS, MAX_RATE, MIN_RATE, sniff};

/// Decodes any bytes in both ways and checks what holds for every file.
pub fn decode(bytes: &[u8]) {
    let as_floats = frames(bytes, |decoder| {
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
    let as_integers = frames(bytes, |decoder| {
        let limit = 1_i64 << (decoder.info().bits - 1);
        let block = decoder.next_integers()?;
        Ok(block.map(|block| {
            let mut samples = block.channels().iter().flat_map(|channel| channel.iter());
            assert!(samples.all(|sample| (-limit..limit).contains(&i64::from(*sample))));
            (block.frames(), block.channels().len())
        }))
    });
    assert!(as_integers.is_none_or(|integers| Some(integers) == as_floats));
}

type Shape = Option<(usize, usize)>;

/// Frames that a whole file yields by `next`; `None` if it does not open or is not of that kind.
fn frames(
    bytes: &[u8],
    mut next: impl FnMut(&mut Decoder) -> Result<Shape, antiphon_audio::AudioError>,
) -> Option<u64> {
    let mut decoder = match Decoder::from_bytes(bytes::Bytes::copy_from_slice(bytes), Limits::default()) {
        Ok(decoder) => decoder,
        Err(error) => {
            assert!(error.is_permanent() && !error.to_string().is_empty());
            return None;
        }
    };
    let info = *decoder.info();
    assert_eq!(sniff(bytes), Some(info.format));
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
            Err(antiphon_audio::AudioError::NotInteger) => return None,
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
    let crc = checksum(&file[start..], 16, 0x8005);
    file.extend(crc.to_be_bytes());
    decode(&file);
}

/// The checksums of RFC 9639, sections 9.1.8 and 9.3: no reflection, starting from 0.
fn checksum(bytes: &[u8], width: u32, polynomial: u16) -> u16 {
    let top = 1_u32 << (width - 1);
    let mut remainder = 0_u32;
    for byte in bytes {
        remainder ^= u32::from(*byte) << (width - 8);
        for _ in 0..8 {
            let shifted = remainder << 1;
            remainder = if remainder & top != 0 { shifted ^ u32::from(polynomial) } else { shifted };
        }
        remainder &= (top << 1) - 1;
    }
    remainder as u16
}
