//! Segment files: the bytes of messages, append-only.
//!
//! ```text
//! segment = header record* footer?
//! header  = "antiphnq"  version: u32  0: u32  salt: u64  crc of the 24 bytes: u32  0: u32
//! record  = length: u32  check: u32  payload: [u8; length]
//! check   = crc(salt  offset: u64  length: u32  crc(payload): u32)
//! payload = 1: u8  published: i64  time: i64  only id kind source trace: (length: u32, bytes)*  body
//! footer  = a record whose payload is  2: u8  records: u64
//! ```
//! Integers are little-endian, `crc` is CRC-32C. The check covers the salt and the offset so that bytes of
//! another file, or of another place of this one, never pass for a record: after a power cut a file may
//! hold old blocks of the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Micros;
use crate::disk::{Disk, DiskFile};
use crate::queue::{MESSAGE_LIMIT, Message, QueueError};

/// Bytes before the first record.
pub(super) const HEADER: u64 = 32;
/// Bytes of a record before its payload.
pub(super) const PREFIX: usize = 8;
/// Bytes of a full segment, if nothing else is asked for.
pub(super) const ROLL: u64 = 64 * 1024 * 1024;
/// How long a segment is open, if nothing else is asked for.
pub(super) const ROLL_AFTER: Duration = Duration::from_secs(60);

const MAGIC: &[u8; 8] = b"antiphnq";
const VERSION: u32 = 1;
const MESSAGE: u8 = 1;
const FOOTER: u8 = 2;
const FOOTER_PAYLOAD: usize = 9;
const SUFFIX: &str = ".segment";

/// A message as bytes, lacking only what depends on its place: the check.
pub(super) struct Encoded {
    /// Room for the prefix, then the payload without the message's body.
    head: Vec<u8>,
    body: Bytes,
    payload_crc: u32,
}

impl Encoded {
    /// Encodes a message, for one group only when `only` names it.
    pub(super) fn new(message: &Message, only: Option<&str>, published: Micros) -> Result<Self, QueueError> {
        let texts = [only.unwrap_or_default(), &message.id, &message.kind, &message.source, &message.trace];
        let head_size = 17 + texts.iter().map(|text| 4 + text.len()).sum::<usize>();
        let size = head_size + message.body.len();
        if size > MESSAGE_LIMIT {
            return Err(QueueError::TooLarge { size, limit: MESSAGE_LIMIT });
        }
        let mut head = Vec::with_capacity(PREFIX + head_size);
        head.extend_from_slice(&[0; PREFIX]);
        head.push(MESSAGE);
        head.extend_from_slice(&published.to_le_bytes());
        head.extend_from_slice(&message.time.to_le_bytes());
        for text in texts {
            head.extend_from_slice(&(text.len() as u32).to_le_bytes());
            head.extend_from_slice(text.as_bytes());
        }
        let payload_crc = crc32c::crc32c_append(crc32c::crc32c(&head[PREFIX..]), &message.body);
        Ok(Self { head, body: message.body.clone(), payload_crc })
    }

    /// Its bytes in the segment.
    pub(super) fn size(&self) -> u64 {
        (self.head.len() + self.body.len()) as u64
    }

    /// Settles its place; the parts to write there.
    pub(super) fn place(&mut self, salt: u64, offset: u64) -> [&[u8]; 2] {
        let length = (self.size() - PREFIX as u64) as u32;
        self.head[..PREFIX].copy_from_slice(&prefix(salt, offset, length, self.payload_crc));
        [&self.head, &self.body]
    }
}

fn prefix(salt: u64, offset: u64, length: u32, payload_crc: u32) -> [u8; PREFIX] {
    let mut place = [0; 24];
    place[..8].copy_from_slice(&salt.to_le_bytes());
    place[8..16].copy_from_slice(&offset.to_le_bytes());
    place[16..20].copy_from_slice(&length.to_le_bytes());
    place[20..].copy_from_slice(&payload_crc.to_le_bytes());
    let mut prefix = [0; PREFIX];
    prefix[..4].copy_from_slice(&length.to_le_bytes());
    prefix[4..].copy_from_slice(&crc32c::crc32c(&place).to_le_bytes());
    prefix
}

/// The first bytes of a segment.
pub(super) fn header(salt: u64) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&salt.to_le_bytes());
    let check = crc32c::crc32c(&header[..24]);
    header[24..28].copy_from_slice(&check.to_le_bytes());
    header
}

/// The last bytes of a sealed segment that ends at `offset`.
pub(super) fn footer(salt: u64, offset: u64, records: u64) -> [u8; PREFIX + FOOTER_PAYLOAD] {
    let mut footer = [0; PREFIX + FOOTER_PAYLOAD];
    footer[PREFIX] = FOOTER;
    footer[PREFIX + 1..PREFIX + 9].copy_from_slice(&records.to_le_bytes());
    let payload_crc = crc32c::crc32c(&footer[PREFIX..]);
    footer[..PREFIX].copy_from_slice(&prefix(salt, offset, FOOTER_PAYLOAD as u32, payload_crc));
    footer
}

/// The name of a segment: its owner's name, so that a reader can tell whether more may come, and a number
/// that grows, so that an owner's segments sort by age.
pub(super) fn name(owner: &str, number: u64) -> String {
    format!("{owner}-{number:08}{SUFFIX}")
}

/// The owner's part of a segment's name; `None` for what is no segment.
pub(super) fn owner_of(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX)?.rsplit_once('-').map(|(owner, _)| owner)
}

/// The folder of a topic's segments.
pub(super) fn topic_folder(folder: &Path, topic: &str) -> PathBuf {
    folder.join("topics").join(topic)
}

/// One record as read.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Where it begins.
    pub(super) position: u64,
    /// Where the next one begins.
    pub(super) next: u64,
    /// When it was published, µs since 1970.
    pub(super) published: Micros,
    /// The only group that it is for; empty for all.
    pub(super) only: String,
    pub(super) message: Message,
}

/// What lies at a place of a segment.
#[derive(Debug)]
pub(super) enum Found {
    Record(Record),
    /// The end of a sealed segment, and how many records it has.
    Footer(u64),
    /// Nothing that checks: not written yet, or never finished.
    Nothing,
}

/// A segment open for reading.
#[derive(Debug)]
pub(super) struct Segment {
    file: Box<dyn DiskFile>,
    salt: u64,
}

impl Segment {
    /// Opens a segment; `None` when its header does not check (yet): nothing was confirmed in it.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Option<Self>> {
        let file = disk.open(path)?;
        let mut bytes = [0; HEADER as usize];
        if file.read_at(&mut bytes, 0)? < bytes.len() {
            return Ok(None);
        }
        let salt = u64_at(&bytes, 16).unwrap_or_default();
        Ok((bytes == header(salt)).then_some(Self { file, salt }))
    }

    /// Its length in bytes, an unfinished tail included.
    pub(super) fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    /// Reads up to `limit` records from `position` on, and what ended the reading: `None` when there may be more.
    pub(super) fn read(
        &self,
        position: u64,
        limit: usize,
        expected: usize,
    ) -> io::Result<(Vec<Record>, Option<Found>)> {
        let mut records: Vec<Record> = Vec::new();
        let mut window = Window { start: position, bytes: Vec::new() };
        let mut at = position;
        while records.len() < limit {
            let missing = limit - records.len();
            match self.found(&mut window, at, expected.saturating_mul(missing))? {
                Found::Record(record) => {
                    at = record.next;
                    records.push(record);
                }
                end => return Ok((records, Some(end))),
            }
        }
        Ok((records, None))
    }

    /// What lies at `position`.
    pub(super) fn read_one(&self, position: u64) -> io::Result<Found> {
        self.found(&mut Window { start: position, bytes: Vec::new() }, position, 4096)
    }

    fn found(&self, window: &mut Window, position: u64, expected: usize) -> io::Result<Found> {
        let Some(bytes) = window.get(self.file.as_ref(), position, PREFIX, expected)? else {
            return Ok(Found::Nothing);
        };
        let (length, check) = (u32_at(bytes, 0).unwrap_or_default(), u32_at(bytes, 4).unwrap_or_default());
        if length == 0 || length as usize > MESSAGE_LIMIT {
            return Ok(Found::Nothing);
        }
        let size = PREFIX + length as usize;
        let Some(bytes) = window.get(self.file.as_ref(), position, size, expected)? else {
            return Ok(Found::Nothing);
        };
        let payload = &bytes[PREFIX..];
        let place = prefix(self.salt, position, length, crc32c::crc32c(payload));
        if place[4..] != check.to_le_bytes() {
            return Ok(Found::Nothing);
        }
        Ok(decode(payload, position, position + size as u64).unwrap_or(Found::Nothing))
    }

    /// How many records lie between two places, by their lengths alone; stops at what cannot be a record. Where it
    /// stopped comes second.
    pub(super) fn count(&self, mut position: u64, end: u64) -> io::Result<(u64, u64)> {
        let mut count = 0;
        let mut window = Window { start: position, bytes: Vec::new() };
        while position + PREFIX as u64 <= end {
            let Some(bytes) = window.get(self.file.as_ref(), position, PREFIX + 1, 64 * 1024)? else { break };
            let length = u32_at(bytes, 0).unwrap_or_default();
            let next = position + PREFIX as u64 + u64::from(length);
            if length == 0 || length as usize > MESSAGE_LIMIT || next > end || bytes[PREFIX] != MESSAGE {
                break;
            }
            count += 1;
            position = next;
        }
        Ok((count, position))
    }

    /// How many records a sealed segment has; `None` when it is not sealed.
    pub(super) fn sealed_count(&self) -> io::Result<Option<u64>> {
        let size = (PREFIX + FOOTER_PAYLOAD) as u64;
        let length = self.length()?;
        if length < HEADER + size {
            return Ok(None);
        }
        Ok(match self.read_one(length - size)? {
            Found::Footer(count) => Some(count),
            _ => None,
        })
    }
}

/// A stretch of a file in memory.
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The most that is read ahead of what is asked for, in bytes.
    const AHEAD: usize = 1024 * 1024;

    /// `size` bytes from `position` on; `None` when the file ends before.
    fn get(&mut self, file: &dyn DiskFile, position: u64, size: usize, expected: usize) -> io::Result<Option<&[u8]>> {
        let inside = position.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let held = inside.is_some_and(|skip| skip + size <= self.bytes.len());
        if !held {
            self.bytes.resize(size.max(expected.clamp(4096, Self::AHEAD)), 0);
            let filled = file.read_at(&mut self.bytes, position)?;
            self.bytes.truncate(filled);
            self.start = position;
        }
        let skip = (position - self.start) as usize;
        Ok(self.bytes.get(skip..skip + size))
    }
}

fn decode(payload: &[u8], position: u64, next: u64) -> Option<Found> {
    match *payload.first()? {
        FOOTER => Some(Found::Footer(u64_at(payload, 1)?)),
        MESSAGE => {
            let published = u64_at(payload, 1)? as Micros;
            let time = u64_at(payload, 9)? as Micros;
            let mut at = 17;
            let mut text = || {
                let length = u32_at(payload, at)? as usize;
                let bytes = payload.get(at + 4..(at + 4).checked_add(length)?)?;
                at += 4 + length;
                String::from_utf8(bytes.to_vec()).ok()
            };
            let (only, id, kind, source, trace) = (text()?, text()?, text()?, text()?, text()?);
            let body = Bytes::copy_from_slice(payload.get(at..)?);
            let message = Message { id, kind, source, time, trace, body };
            Some(Found::Record(Record { position, next, published, only, message }))
        }
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::LocalDisk;

    fn message(id: &str, body: Vec<u8>) -> Message {
        Message {
            id: id.to_owned(),
            kind: String::from("antiphon.test.v1"),
            source: String::from("sensors/roof"),
            time: -5,
            trace: String::new(),
            body: Bytes::from(body),
        }
    }

    fn write(path: &Path, salt: u64, messages: &[Message]) -> u64 {
        let file = LocalDisk.create(path).unwrap();
        file.write_at(&[IoSlice::new(&header(salt))], 0).unwrap();
        let mut end = HEADER;
        for message in messages {
            let mut encoded = Encoded::new(message, Some("write"), 17).unwrap();
            let size = encoded.size();
            let parts = encoded.place(salt, end);
            file.write_at(&parts.map(IoSlice::new), end).unwrap();
            end += size;
        }
        end
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..20)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a");
            let messages: Vec<Message> = bodies.into_iter().enumerate().map(|(n, body)| message(&n.to_string(), body)).collect();
            let end = write(&path, 7, &messages);
            let segment = Segment::open(&LocalDisk, &path).unwrap().unwrap();
            let (records, after) = segment.read(HEADER, 100, 500).unwrap();
            prop_assert!(matches!(after, Some(Found::Nothing)));
            prop_assert_eq!(records.last().unwrap().next, end);
            prop_assert!(records.iter().all(|record| record.only == "write" && record.published == 17));
            let count = messages.len() as u64;
            prop_assert_eq!(records.into_iter().map(|record| record.message).collect::<Vec<_>>(), messages);
            prop_assert_eq!(segment.count(HEADER, end).unwrap(), (count, end));
            prop_assert_eq!(segment.sealed_count().unwrap(), None);
        }

        #[test]
        fn a_changed_byte_ends_the_reading(at in HEADER as usize..500, flip in 1u8..) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a");
            let end = write(&path, 7, &vec![message("m", vec![5; 40]); 5]) as usize;
            let size = (end - HEADER as usize) / 5;
            let at = at.min(end - 1);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= flip;
            std::fs::write(&path, bytes).unwrap();
            let (records, _) = Segment::open(&LocalDisk, &path).unwrap().unwrap().read(HEADER, 100, 500).unwrap();
            prop_assert_eq!(records.len(), (at - HEADER as usize) / size);
        }
    }

    #[test]
    fn a_record_of_another_place_or_file_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        write(&a, 7, &vec![message("m", vec![5; 40]); 2]);
        write(&b, 8, &[]);
        let bytes = std::fs::read(&a).unwrap();
        let size = (bytes.len() - HEADER as usize) / 2;
        let mut foreign = std::fs::read(&b).unwrap();
        foreign.extend_from_slice(&bytes[HEADER as usize..]);
        std::fs::write(&b, foreign).unwrap();
        let moved = [&bytes[..HEADER as usize], &bytes[HEADER as usize + size..]].concat();
        std::fs::write(&a, moved).unwrap();
        for path in [a, b] {
            let segment = Segment::open(&LocalDisk, &path).unwrap().unwrap();
            assert!(matches!(segment.read_one(HEADER).unwrap(), Found::Nothing));
        }
    }

    #[test]
    fn a_footer_tells_the_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let end = write(&path, 7, &vec![message("m", vec![5; 40]); 3]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(&footer(7, end, 3));
        std::fs::write(&path, bytes).unwrap();
        let segment = Segment::open(&LocalDisk, &path).unwrap().unwrap();
        assert_eq!(segment.sealed_count().unwrap(), Some(3));
        let (records, after) = segment.read(HEADER, 100, 500).unwrap();
        assert_eq!(records.len(), 3);
        assert!(matches!(after, Some(Found::Footer(3))));
        assert_eq!(segment.count(HEADER, segment.length().unwrap()).unwrap(), (3, end));
    }

    #[test]
    fn a_message_over_the_limit_is_refused() {
        let error = Encoded::new(&message("m", vec![0; MESSAGE_LIMIT]), None, 0).err().unwrap();
        assert!(matches!(error, QueueError::TooLarge { size, limit } if size > limit));
    }

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner_of(&name("0123-ab", 7)), Some("0123-ab"));
        assert_eq!(owner_of("notes.txt"), None);
    }
}
