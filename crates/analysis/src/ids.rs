//! How recordings, and the messages about them, are named.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use antiphon_platform::clock::Micros;

/// The name of a recording, derived from what it is: sending the same audio again gives the same id.
///
/// The id is the first 20 bytes of SHA-256(`antiphon1` ‖ sensor ‖ byte 0 ‖ start in µs since 1970 as
/// big-endian i64 ‖ lead-in in µs as big-endian i64, only if it is not 0 ‖ SHA-256(bytes of the audio
/// file)). The text form is `r` + lower-case unpadded base32 (RFC 4648) of these bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordingId([u8; Self::LENGTH]);

/// Text or bytes that are no recording's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recording's id is the letter r and 32 characters of a-z and 2-7")]
pub struct NoRecordingId;

impl RecordingId {
    /// Bytes in an id.
    pub const LENGTH: usize = 20;

    /// The id of an audio file of `sensor` whose first sample after the lead-in was heard at `start`.
    ///
    /// `lead_in` is in µs; `audio` is the SHA-256 of the file's bytes.
    #[must_use]
    pub fn derive(sensor: &str, start: Micros, lead_in: u32, audio: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"antiphon1");
        hash.update(sensor.as_bytes());
        hash.update([0]);
        hash.update(start.to_be_bytes());
        if lead_in != 0 {
            hash.update(i64::from(lead_in).to_be_bytes());
        }
        hash.update(audio);
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; Self::LENGTH];
        id.copy_from_slice(&digest[..Self::LENGTH]);
        Self(id)
    }

    /// The stored form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl From<[u8; Self::LENGTH]> for RecordingId {
    fn from(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for RecordingId {
    type Error = NoRecordingId;

    fn try_from(bytes: &[u8]) -> Result<Self, NoRecordingId> {
        bytes.try_into().map(Self).map_err(|_| NoRecordingId)
    }
}

impl fmt::Display for RecordingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "r{}", BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for RecordingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for RecordingId {
    type Err = NoRecordingId;

    fn from_str(text: &str) -> Result<Self, NoRecordingId> {
        let base32 = text.strip_prefix('r').ok_or(NoRecordingId)?;
        if base32.len() != 32 || base32.bytes().any(|letter| letter.is_ascii_uppercase()) {
            return Err(NoRecordingId);
        }
        let bytes = BASE32_NOPAD.decode(base32.to_ascii_uppercase().as_bytes()).map_err(|_| NoRecordingId)?;
        Self::try_from(bytes.as_slice())
    }
}

/// The CloudEvents id of a piece of a recording.
#[must_use]
pub fn piece_message(recording: RecordingId, piece: u32) -> String {
    format!("{recording}/{piece}")
}

/// The CloudEvents id of one part of what a group found in one piece of `source` (a recording's or a song's id).
#[must_use]
pub fn result_message(source: &str, piece: u32, group: &str, plan: u32, part: u32) -> String {
    format!("{source}/{piece}/{group}/{plan}/{part}")
}

/// SHA-256 of an audio file's bytes, as ids want it.
#[must_use]
pub fn audio_digest(audio: &[u8]) -> [u8; 32] {
    Sha256::digest(audio).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-05-01T00:00:00Z.
    const MAY: Micros = 1_777_593_600_000_000;

    fn id(sensor: &str, start: Micros, lead_in: u32, audio: &[u8]) -> String {
        RecordingId::derive(sensor, start, lead_in, &audio_digest(audio)).to_string()
    }

    #[test]
    fn the_published_vectors_hold() {
        assert_eq!(id("roof", MAY, 0, b""), "ri457bomdl5b76igfdp4bsby56ntpyrhp");
        assert_eq!(id("roof", MAY + 1, 0, b"abc"), "r4kfuqejpza7l557ib35s4o7ogduf3xjo");
        assert_eq!(id("river-2", MAY, 0, b"abc"), "rj36q63otjjq362zmo3wkogsmt7tymofc");
        assert_eq!(id("roof", MAY, 1_000_000, b"abc"), "rdnltm4cddj3vajitutch2o7moc7qb3ir");
    }

    #[test]
    fn text_and_bytes_lead_back_to_the_same_id() {
        let id = RecordingId::derive("roof", MAY, 0, &audio_digest(b"abc"));
        assert_eq!(id.to_string().parse::<RecordingId>().unwrap(), id);
        assert_eq!(RecordingId::try_from(id.as_bytes().as_slice()).unwrap(), id);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let good = id("roof", MAY, 0, b"abc");
        let upper = format!("r{}", good[1..].to_ascii_uppercase());
        for bad in ["", "r", &good[1..], &good[..32], &upper, &format!("{good}a"), &good.replacen('r', "s", 1), "r1"] {
            assert_eq!(bad.parse::<RecordingId>(), Err(NoRecordingId), "{bad:?}");
        }
        assert_eq!(RecordingId::try_from([0; 19].as_slice()), Err(NoRecordingId));
    }
}
