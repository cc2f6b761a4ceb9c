//! Which format bytes are, by content.

/// A format that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// RIFF WAVE with uncompressed samples.
    Wav,
    /// Native FLAC, also behind an ID3v2 tag.
    Flac,
}

impl Format {
    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wav => "WAV",
            Self::Flac => "FLAC",
        }
    }

    /// The usual ending of file names, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Flac => "flac",
        }
    }

    /// The registered media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Flac => "audio/flac",
        }
    }
}

/// As many first bytes as [`sniff`] ever looks at.
pub const SNIFF_BYTES: usize = 64;

/// The format of a file that begins with `head`: at most [`SNIFF_BYTES`] are looked at, fewer are fine if the
/// file has no more. `None` means that nothing here decodes it.
///
/// An ID3v2 tag also leads MP3 files, and what follows may lie further than `head` reaches. Such a file is
/// taken for FLAC unless `head` shows otherwise: decoding will tell, and in the formats known here only FLAC can
/// be meant.
pub fn sniff(head: &[u8]) -> Option<Format> {
    let head = &head[..head.len().min(SNIFF_BYTES)];
    if head.len() >= 12 && head.starts_with(b"RIFF") && &head[8..12] == b"WAVE" {
        return Some(Format::Wav);
    }
    if head.starts_with(b"fLaC") {
        return Some(Format::Flac);
    }
    let behind_tag = id3v2_length(head)?;
    match usize::try_from(behind_tag).ok().and_then(|start| head.get(start..start + 4)) {
        Some(marker) => (marker == b"fLaC").then_some(Format::Flac),
        None => Some(Format::Flac),
    }
}

/// Length in bytes of the ID3v2 tag that `head` begins with, header and footer included (id3.org, ID3v2.4.0
/// structure, section 3.1: four bytes of seven bits).
pub(crate) fn id3v2_length(head: &[u8]) -> Option<u64> {
    let header = head.get(..10)?;
    let plausible = header.starts_with(b"ID3")
        && header[3] != 0xff
        && header[4] != 0xff
        && header[6..10].iter().all(|byte| byte & 0x80 == 0);
    if !plausible {
        return None;
    }
    let body = header[6..10].iter().fold(0_u64, |length, byte| length << 7 | u64::from(*byte));
    let footer = if header[5] & 0x10 != 0 { 10 } else { 0 };
    Some(10 + body + footer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_heads_are_told_apart() {
        assert_eq!(sniff(b"RIFF\x24\0\0\0WAVEfmt "), Some(Format::Wav));
        assert_eq!(sniff(b"fLaC\0\0\0\x22"), Some(Format::Flac));
        assert_eq!(sniff(b"RIFF\x24\0\0\0AVI LIST"), None);
        assert_eq!(sniff(b"OggS"), None);
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"<html>"), None);
        assert_eq!(sniff(b"RIFF"), None);
    }

    #[test]
    fn a_tag_before_flac_is_looked_behind() {
        let tag = |length: u8, next: &[u8]| {
            let mut head = b"ID3\x04\0\0\0\0\0".to_vec();
            head.push(length);
            head.extend(vec![0; usize::from(length)]);
            head.extend(next);
            head
        };
        assert_eq!(sniff(&tag(20, b"fLaC")), Some(Format::Flac));
        assert_eq!(sniff(&tag(20, b"\xff\xfb\x90\x44")), None);
        assert_eq!(sniff(&tag(120, b"fLaC")), Some(Format::Flac));
        assert_eq!(id3v2_length(b"ID3\x04\0\x10\0\0\x02\x01"), Some(10 + 257 + 10));
        assert_eq!(id3v2_length(b"ID3\xff\0\0\0\0\0\0"), None);
    }
}
