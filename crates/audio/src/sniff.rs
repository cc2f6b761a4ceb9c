//! Which format bytes are, by content.

/// A format that is decoded: a container with its codec, where a container is common with more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// RIFF WAVE, RF64 or BW64 with uncompressed samples.
    Wav,
    /// AIFF or AIFF-C with uncompressed samples.
    Aiff,
    /// Native FLAC, also behind an ID3v2 tag.
    Flac,
    /// MPEG-1, 2 or 2.5 audio, layer III.
    Mp3,
    /// Ogg with Vorbis, Opus or FLAC.
    Ogg,
    /// MP4, M4A or QuickTime with AAC-LC, ALAC, FLAC, Opus or MP3.
    Mp4,
    /// AAC-LC in ADTS frames.
    Adts,
    /// Matroska or WebM with Vorbis, Opus, FLAC, AAC-LC, ALAC, MP3 or uncompressed samples.
    Matroska,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 8] =
        [Self::Wav, Self::Aiff, Self::Flac, Self::Mp3, Self::Ogg, Self::Mp4, Self::Adts, Self::Matroska];

    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wav => "WAV",
            Self::Aiff => "AIFF",
            Self::Flac => "FLAC",
            Self::Mp3 => "MP3",
            Self::Ogg => "Ogg",
            Self::Mp4 => "MP4",
            Self::Adts => "AAC",
            Self::Matroska => "Matroska",
        }
    }

    /// The usual ending of file names, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Aiff => "aiff",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
            Self::Ogg => "ogg",
            Self::Mp4 => "m4a",
            Self::Adts => "aac",
            Self::Matroska => "mka",
        }
    }

    /// The usual media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Aiff => "audio/aiff",
            Self::Flac => "audio/flac",
            Self::Mp3 => "audio/mpeg",
            Self::Ogg => "audio/ogg",
            Self::Mp4 => "audio/mp4",
            Self::Adts => "audio/aac",
            Self::Matroska => "audio/matroska",
        }
    }
}

/// As many first bytes as [`sniff`] ever looks at.
pub const SNIFF_BYTES: usize = 64;

/// The format of a file that begins with `head`: at most [`SNIFF_BYTES`] are looked at, fewer are fine if the
/// file has no more. `None` means that nothing here decodes it.
///
/// An ID3v2 tag leads MP3 files, sometimes FLAC and ADTS, and what follows may lie further than `head` reaches. Such a
/// file is taken for MP3, which nearly all of them are. [`Decoder`](crate::decode::Decoder) looks behind the tag; what
/// it says in [`Info::format`](crate::decode::Info::format) is certain.
pub fn sniff(head: &[u8]) -> Option<Format> {
    let head = &head[..head.len().min(SNIFF_BYTES)];
    let Some(behind_tag) = id3v2_length(head) else { return sniff_untagged(head) };
    match usize::try_from(behind_tag).ok().and_then(|start| head.get(start..)) {
        Some(rest) if rest.len() >= 4 => sniff(rest),
        _ => Some(Format::Mp3),
    }
}

/// The same for what does not begin with an ID3v2 tag.
fn sniff_untagged(head: &[u8]) -> Option<Format> {
    let form = head.get(8..12).unwrap_or_default();
    match head.get(..4)? {
        b"RIFF" | b"RF64" | b"BW64" if form == b"WAVE" => Some(Format::Wav),
        b"FORM" if form == b"AIFF" || form == b"AIFC" => Some(Format::Aiff),
        b"fLaC" => Some(Format::Flac),
        b"OggS" => Some(Format::Ogg),
        b"\x1a\x45\xdf\xa3" => Some(Format::Matroska),
        _ if head.get(4..8) == Some(b"ftyp") => Some(Format::Mp4),
        first if crate::mp3::Header::parse(first).is_some() => Some(Format::Mp3),
        _ if crate::adts::Header::parse(head).is_some() => Some(Format::Adts),
        _ => None,
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
        assert_eq!(sniff(b"RF64\xff\xff\xff\xffWAVEds64"), Some(Format::Wav));
        assert_eq!(sniff(b"FORM\0\0\0\x24AIFCFVER"), Some(Format::Aiff));
        assert_eq!(sniff(b"fLaC\0\0\0\x22"), Some(Format::Flac));
        assert_eq!(sniff(b"OggS\0\x02"), Some(Format::Ogg));
        assert_eq!(sniff(b"\xff\xfb\x90\x44\0\0"), Some(Format::Mp3));
        assert_eq!(sniff(b"\xff\xf1\x50\x80\x02\xff\xfc"), Some(Format::Adts));
        assert_eq!(sniff(b"\0\0\0\x20ftypM4A "), Some(Format::Mp4));
        assert_eq!(sniff(b"\x1a\x45\xdf\xa3\x9f"), Some(Format::Matroska));
        assert_eq!(sniff(b"RIFF\x24\0\0\0AVI LIST"), None);
        assert_eq!(sniff(b"\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(sniff(b"\xff\xfe\0<\0h\0t\0"), None);
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"<html>"), None);
        assert_eq!(sniff(b"RIFF"), None);
    }

    #[test]
    fn a_tag_is_looked_behind() {
        let tag = |length: u8, next: &[u8]| {
            let mut head = b"ID3\x04\0\0\0\0\0".to_vec();
            head.push(length);
            head.extend(vec![0; usize::from(length)]);
            head.extend(next);
            head
        };
        assert_eq!(sniff(&tag(20, b"fLaC")), Some(Format::Flac));
        assert_eq!(sniff(&tag(20, b"\xff\xfb\x90\x44")), Some(Format::Mp3));
        assert_eq!(sniff(&tag(20, b"\xff\xf1\x50\x80\x02\xff\xfc")), Some(Format::Adts));
        assert_eq!(sniff(&tag(10, &tag(10, b"fLaC"))), Some(Format::Flac));
        assert_eq!(sniff(&tag(120, b"fLaC")), Some(Format::Mp3));
        assert_eq!(id3v2_length(b"ID3\x04\0\x10\0\0\x02\x01"), Some(10 + 257 + 10));
        assert_eq!(id3v2_length(b"ID3\xff\0\0\0\0\0\0"), None);
    }
}
