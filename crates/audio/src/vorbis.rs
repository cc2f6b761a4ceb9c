//! The lengths of codewords in a Vorbis setup header, checked before the decoder reads them: it takes for granted that none is longer
//! than 32 bits, which a file can claim otherwise.

/// Bits of a packet, the lowest of a byte first (Vorbis I, section 2).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next bits, at most 32; `None` behind the end.
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for place in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?)?;
        (self.at <= self.bytes.len() * 8).then_some(())
    }
}

/// Whether every codebook of a setup header (Vorbis I, sections 3.2.1 and 4.2.4) can be read and has codewords of at most 32 bits.
/// Time grows with the bytes that are there, not with what they claim.
pub(crate) fn has_sound_codebooks(setup: &[u8]) -> bool {
    let Some(codebooks) = setup.strip_prefix(b"\x05vorbis") else { return false };
    let mut bits = Bits { bytes: codebooks, at: 0 };
    let Some(count) = bits.take(8) else { return false };
    (0..=count).all(|_| codebook(&mut bits).is_some())
}

/// Reads over one codebook; `None` if it is not sound.
fn codebook(bits: &mut Bits<'_>) -> Option<()> {
    let sync = bits.take(24)?;
    let (dimensions, entries) = (bits.take(16)?, bits.take(24)?);
    if sync != 0x0056_4342 {
        return None;
    }
    let is_ordered = bits.take(1)? == 1;
    if is_ordered {
        let mut length = bits.take(5)? + 1;
        let mut entry = 0;
        while entry < entries {
            if length > 32 {
                return None;
            }
            // As many bits as the number of entries that are left needs.
            entry += bits.take(u32::BITS - (entries - entry).leading_zeros())?;
            length += 1;
        }
        if entry > entries {
            return None;
        }
    } else {
        let is_sparse = bits.take(1)? == 1;
        for _ in 0..entries {
            if !is_sparse || bits.take(1)? == 1 {
                // One less than the length: 32 at most.
                bits.take(5)?;
            }
        }
    }
    let lookup = bits.take(4)?;
    let values = match lookup {
        0 => return Some(()),
        1 => lookup1_values(entries, dimensions)?,
        2 => u64::from(entries) * u64::from(dimensions),
        _ => return None,
    };
    // The smallest value and the step between values.
    bits.skip(64)?;
    let width = bits.take(4)? + 1;
    bits.skip(1)?;
    bits.skip(values.checked_mul(u64::from(width))?)
}

/// The largest number whose power by `dimensions` is at most `entries` (Vorbis I, section 9.2.3).
fn lookup1_values(entries: u32, dimensions: u32) -> Option<u64> {
    if dimensions == 0 {
        return None;
    }
    let fits = |root: u64| root.checked_pow(dimensions).is_some_and(|power| power <= u64::from(entries));
    // A root that is off by rounding is put right.
    let mut root = f64::from(entries).powf(1.0 / f64::from(dimensions)) as u64;
    while fits(root + 1) {
        root += 1;
    }
    while root > 0 && !fits(root) {
        root -= 1;
    }
    Some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of so many bits, packed as a setup header of one codebook.
    fn setup(fields: &[(u32, u32)]) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        for (value, count) in [(0, 8), (0x0056_4342, 24)].iter().chain(fields) {
            bits.extend((0..*count).map(|place| value >> place & 1 == 1));
        }
        let bytes = bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |value, bit| value << 1 | u8::from(*bit)));
        b"\x05vorbis".iter().copied().chain(bytes).collect()
    }

    #[test]
    fn codewords_of_more_than_32_bits_are_refused() {
        let ordered = |first: u32, second: u32| {
            setup(&[(1, 16), (2, 24), (1, 1), (first, 5), (second, 2), (2 - second, 2), (0, 4)])
        };
        assert!(has_sound_codebooks(&ordered(0, 1)), "one word of 1 bit, one of 2");
        assert!(has_sound_codebooks(&ordered(31, 2)), "two words of 32 bits");
        assert!(!has_sound_codebooks(&ordered(31, 1)), "one of 32, one of 33");
        assert!(!has_sound_codebooks(&setup(&[(1, 16), (2, 24), (1, 1), (0, 5), (3, 2)])), "more words than entries");
        assert!(!has_sound_codebooks(&ordered(0, 1)[..12]), "broken off");
        assert!(!has_sound_codebooks(b"\x05vorbiz"));
    }

    #[test]
    fn roots_are_exact() {
        for (entries, dimensions, root) in
            [(81, 4, 3), (80, 4, 2), (1, 9, 1), (0, 2, 0), (16_777_215, 1, 16_777_215), (5, 65_535, 1)]
        {
            assert_eq!(lookup1_values(entries, dimensions), Some(root), "{entries} {dimensions}");
        }
        assert_eq!(lookup1_values(5, 0), None);
    }
}
