//! The bits that a Chromaprint fingerprint packs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes before the bits: the algorithm and how many items there are.
const HEADER: usize = 4;
/// The largest distance in 3 bits: what it lacks follows in 5 bits at the end.
const LARGEST: u32 = 7;

/// Seconds from one item to the next: 1,365 samples at 11,025 Hz.
pub const STEP: f64 = 1_365.0 / 11_025.0;

/// The items of 32 bits, unpacked as Chromaprint packs them: of each, exclusive or with the one before, the distances between set
/// bits in 3 bits each and a 0; then 5 bits for each distance of 7, to be added to it. `None` if the text is no fingerprint.
pub fn items(fingerprint: &str) -> Option<Vec<u32>> {
    let bytes = URL_SAFE_NO_PAD.decode(fingerprint).ok()?;
    let (header, packed) = bytes.split_at_checked(HEADER)?;
    let count = usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    let mut distances = Vec::new();
    let mut ends = 0;
    for number in numbers(packed, 3) {
        if ends == count {
            break;
        }
        ends += usize::from(number == 0);
        distances.push(number);
    }
    let mut more = numbers(packed.get((3 * distances.len()).div_ceil(8)..)?, 5);
    let (mut items, mut item, mut place) = (Vec::new(), 0_u32, 0);
    for distance in distances {
        if distance == 0 {
            items.push(items.last().unwrap_or(&0) ^ item);
            (item, place) = (0, 0);
            continue;
        }
        place += if distance == LARGEST { distance + more.next()? } else { distance };
        item |= 1_u32.checked_shl(place - 1)?;
    }
    (items.len() == count).then_some(items)
}

/// Numbers of so many bits, the lowest bit first.
fn numbers(bytes: &[u8], width: usize) -> impl Iterator<Item = u32> {
    let bit = |index: usize| u32::from(bytes[index / 8] >> (index % 8) & 1);
    (0..8 * bytes.len() / width)
        .map(move |number| (0..width).fold(0, |value, place| value | bit(number * width + place) << place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_unpacked() {
        // Two items: bits 1 and 9 (a distance of 8: 7 and 1 more), then the same with bit 1 cleared.
        let mut bits: Vec<u8> = Vec::new();
        for (value, width) in [(1, 3), (7, 3), (0, 3), (1, 3), (0, 3)] {
            bits.extend((0..width).map(|place| value >> place & 1));
        }
        bits.resize(16, 0);
        bits.extend((0..5).map(|place| 1 >> place & 1));
        bits.resize(24, 0);
        let packed = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit));
        let bytes: Vec<u8> = [1, 0, 0, 2].into_iter().chain(packed).collect();
        assert_eq!(items(&URL_SAFE_NO_PAD.encode(bytes)), Some(vec![0x101, 0x100]));
        assert_eq!(items("AQAA"), None);
        assert_eq!(items("not a fingerprint"), None);
    }
}
