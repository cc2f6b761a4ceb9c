//! What a song is called.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// A song's id, made of its bytes: the same file has the same id, wherever it is uploaded.
///
/// It is the first 20 bytes of SHA-256(`antiphon1song` ‖ byte 0 ‖ SHA-256(the file's bytes)); as text `s` and
/// those bytes in lower-case base32 (RFC 4648) without padding. The file `abc` is
/// `sdsv2fpy64gpa63awucfrirvh7kp6ss4n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SongId([u8; Self::LENGTH]);

impl SongId {
    /// Bytes in an id.
    pub const LENGTH: usize = 20;

    /// The id of a file whose bytes have this SHA-256.
    #[must_use]
    pub fn derive(sha256: &[u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(b"antiphon1song\0").chain_update(sha256).finalize();
        let mut id = [0; Self::LENGTH];
        id.copy_from_slice(&hash[..Self::LENGTH]);
        Self(id)
    }

    /// The stored form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl TryFrom<&[u8]> for SongId {
    type Error = NoSongId;

    fn try_from(bytes: &[u8]) -> Result<Self, NoSongId> {
        bytes.try_into().map(Self).map_err(|_| NoSongId)
    }
}

impl fmt::Display for SongId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

/// Text or bytes that are no song's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a song's id is the letter s and 32 characters of a-z and 2-7")]
pub struct NoSongId;

impl FromStr for SongId {
    type Err = NoSongId;

    fn from_str(text: &str) -> Result<Self, NoSongId> {
        let letters = text.strip_prefix('s').ok_or(NoSongId)?;
        if letters.len() != 32 || letters.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NoSongId);
        }
        let bytes = BASE32_NOPAD.decode(letters.to_ascii_uppercase().as_bytes()).map_err(|_| NoSongId)?;
        bytes.try_into().map(Self).map_err(|_| NoSongId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector() {
        let id = SongId::derive(&Sha256::digest(b"abc").into());
        assert_eq!(id.to_string(), "sdsv2fpy64gpa63awucfrirvh7kp6ss4n");
        assert_eq!("sdsv2fpy64gpa63awucfrirvh7kp6ss4n".parse(), Ok(id));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let letters = "dsv2fpy64gpa63awucfrirvh7kp6ss4n";
        for text in ["", "s", letters, &format!("r{letters}"), &format!("s{letters}a"), &format!("S{letters}")] {
            assert_eq!(text.parse::<SongId>(), Err(NoSongId), "{text}");
        }
        assert_eq!(format!("s{}", letters.to_uppercase()).parse::<SongId>(), Err(NoSongId));
        assert_eq!("sdsv2fpy64gpa63awucfrirvh7kp6ss4\u{e9}".parse::<SongId>(), Err(NoSongId));
    }
}
