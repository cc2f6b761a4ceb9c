//! Pictures: what they are by their own bytes, and which one is the cover.

use lofty::picture::{Picture, PictureType};

/// The largest picture that is taken, in bytes.
pub(super) const PICTURE_BYTES: u64 = 8 << 20;
/// Pictures of one tag that are looked at.
pub(super) const PICTURES_LIMIT: usize = 8;

/// What is said of a picture that is none.
pub(super) const NO_IMAGE: &str = "a picture is left out: it is no JPEG, PNG, WebP or GIF";

/// What a picture is encoded as, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// ISO/IEC 10918-1.
    Jpeg,
    /// W3C PNG.
    Png,
    /// RFC 9649.
    WebP,
    /// GIF87a or GIF89a.
    Gif,
}

impl ImageFormat {
    /// The format of an image that begins with `head`; the first 12 bytes are enough.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        let is_webp = head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP");
        match head {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            _ => is_webp.then_some(Self::WebP),
        }
    }

    /// The registered media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
        }
    }
}

/// A song's cover, as it stood in its tags.
#[derive(Clone, PartialEq, Eq)]
pub struct Cover {
    /// What the bytes are, by content.
    pub format: ImageFormat,
    /// The bytes of the picture, at most 8 MiB. They were not decoded: behind the first bytes anything may follow.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Cover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cover({:?}, {} bytes)", self.format, self.bytes.len())
    }
}

/// How gladly a picture of this kind is taken for the cover; lower is better. Icons and portraits are none.
pub(super) fn rank(kind: PictureType) -> u8 {
    match kind {
        PictureType::CoverFront => 0,
        // What programs write who do not ask, and all that MP4 knows.
        PictureType::Other | PictureType::Undefined(_) => 1,
        PictureType::Media | PictureType::Illustration | PictureType::CoverBack => 2,
        _ => 3,
    }
}

/// The first of the best-ranked pictures that is an image, and what is wrong with those before it.
pub(super) fn best(mut pictures: Vec<Picture>, warnings: &mut Vec<String>) -> Option<Cover> {
    pictures.sort_by_key(|picture| rank(picture.pic_type()));
    for picture in pictures {
        let bytes = picture.into_data();
        match ImageFormat::of(&bytes) {
            Some(_) if bytes.len() as u64 > PICTURE_BYTES => warnings.push(too_large(bytes.len() as u64)),
            Some(format) => return Some(Cover { format, bytes }),
            None => warnings.push(NO_IMAGE.to_owned()),
        }
    }
    None
}

/// What is said of a picture that is not read.
pub(super) fn too_large(bytes: u64) -> String {
    format!("a picture of {bytes} bytes is left out: at most {PICTURE_BYTES} are taken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_by_their_bytes() {
        let cases: [(&[u8], Option<ImageFormat>); 8] = [
            (b"\xff\xd8\xff\xe0rest", Some(ImageFormat::Jpeg)),
            (b"\x89PNG\r\n\x1a\nrest", Some(ImageFormat::Png)),
            (b"GIF89a", Some(ImageFormat::Gif)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some(ImageFormat::WebP)),
            (b"RIFF\0\0\0\0WAVEfmt ", None),
            (b"<svg onload='x()'>", None),
            (b"\xff\xd8", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(ImageFormat::of(bytes), expected, "{bytes:?}");
        }
    }
}
