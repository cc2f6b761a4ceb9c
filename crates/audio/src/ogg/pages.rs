//! Pages of Ogg, and the packets that lie in them (RFC 3533).

use crate::AudioError;
use crate::coded::{BROKEN_OFF, MOST_PACKET_BYTES, corrupt};
use crate::input::Input;

/// Bytes of a page's header before its table of segments.
const HEADER_BYTES: usize = 27;

/// One page.
#[derive(Default)]
pub(super) struct Page {
    /// Whether it begins with the rest of a packet.
    pub(super) is_continued: bool,
    /// Whether a stream begins with it.
    pub(super) is_first: bool,
    /// Whether a stream ends with it.
    pub(super) is_last: bool,
    /// Position at the end of the last packet that ends on it; below 0 where editors joined files.
    pub(super) position: Option<i64>,
    pub(super) serial: u32,
    sequence: u32,
    /// Header and segments.
    bytes: Vec<u8>,
    /// Segments that were taken, and where their bytes end.
    taken: usize,
    taken_bytes: usize,
}

impl Page {
    fn table(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..HEADER_BYTES + self.count()).unwrap_or_default()
    }

    fn count(&self) -> usize {
        self.bytes.get(26).copied().map_or(0, usize::from)
    }

    /// Reads the next page; false at the end.
    fn read(&mut self, source: &mut Input) -> Result<bool, AudioError> {
        self.bytes.clear();
        (self.taken, self.taken_bytes) = (0, 0);
        if !source.append(HEADER_BYTES, &mut self.bytes)? {
            return match self.bytes.as_slice() {
                [] => Ok(false),
                bytes if b"OggS".starts_with(&bytes[..bytes.len().min(4)]) || bytes.starts_with(b"OggS") => {
                    Err(BROKEN_OFF)
                }
                _ => Err(corrupt("what should be a page is none")),
            };
        }
        if !self.bytes.starts_with(b"OggS\0") {
            return Err(corrupt("what should be a page is none"));
        }
        let is_whole = source.append(self.count(), &mut self.bytes)? && {
            let body = self.table().iter().map(|length| usize::from(*length)).sum();
            source.append(body, &mut self.bytes)?
        };
        if !is_whole {
            return Err(BROKEN_OFF);
        }
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| self.bytes[at + byte]));
        let (checksum, sequence, serial) = (number(22), number(18), number(14));
        let position = (u64::from(number(10)) << 32 | u64::from(number(6))).cast_signed();
        self.bytes[22..26].fill(0);
        if crc(&self.bytes) != checksum {
            return Err(corrupt("the checksum of a page is wrong"));
        }
        let flags = self.bytes[5];
        (self.is_continued, self.is_first, self.is_last) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
        // -1 says that no packet ends on the page.
        self.position = Some(position).filter(|position| *position != -1);
        (self.sequence, self.serial) = (sequence, serial);
        Ok(true)
    }

    /// Appends segments up to the end of a packet or of the page; whether the packet ended.
    fn take(&mut self, packet: &mut Vec<u8>) -> bool {
        let count = self.count();
        while self.taken < count {
            let length = self.bytes[HEADER_BYTES + self.taken];
            let start = HEADER_BYTES + count + self.taken_bytes;
            packet.extend_from_slice(&self.bytes[start..start + usize::from(length)]);
            self.taken += 1;
            self.taken_bytes += usize::from(length);
            if length < 255 {
                return true;
            }
        }
        false
    }

    fn is_empty(&self) -> bool {
        self.taken == self.count()
    }
}

/// What comes next in a logical stream.
pub(super) enum Next {
    /// A packet, which ends on the page that is current.
    Packet,
    /// Another logical stream begins; the current page is its first.
    Stream,
    /// Nothing more.
    End,
}

/// The packets of one logical stream at a time.
pub(super) struct PacketReader {
    source: Input,
    pub(super) page: Page,
    serial: u32,
    /// What the next page of the stream must be numbered.
    sequence: u32,
    /// A packet that did not end on its page.
    part: Vec<u8>,
    is_in_packet: bool,
    /// Whether the current page begins another stream, and is neither followed nor passed over.
    is_at_stream: bool,
}

impl PacketReader {
    /// Goes to the first page of the first stream whose first packet is `known`. The beginnings of all streams
    /// that are side by side come first.
    pub(super) fn open(source: Input, known: impl Fn(&[u8]) -> bool) -> Result<Option<Self>, AudioError> {
        let page = Page::default();
        let mut reader =
            Self { source, page, serial: 0, sequence: 0, part: Vec::new(), is_in_packet: false, is_at_stream: false };
        loop {
            if !reader.page.read(&mut reader.source)? || !reader.page.is_first {
                return Ok(None);
            }
            if reader.begins_with(&known) {
                reader.follow();
                return Ok(Some(reader));
            }
        }
    }

    /// Whether the first packet on the page is one that is known.
    pub(super) fn begins_with(&self, known: &impl Fn(&[u8]) -> bool) -> bool {
        known(self.page.bytes.get(HEADER_BYTES + self.page.count()..).unwrap_or_default())
    }

    /// Takes the stream that begins on the current page for ours.
    pub(super) fn follow(&mut self) {
        self.serial = self.page.serial;
        self.sequence = self.page.sequence.wrapping_add(1);
        self.part.clear();
        (self.is_in_packet, self.is_at_stream) = (false, false);
    }

    /// Puts the next packet of our stream into `packet`.
    pub(super) fn next(&mut self, packet: &mut Vec<u8>) -> Result<Next, AudioError> {
        self.advance(Some(packet))
    }

    /// Reads over the next packet of our stream, however long it is.
    pub(super) fn read_over(&mut self) -> Result<Next, AudioError> {
        self.advance(None)
    }

    fn advance(&mut self, mut packet: Option<&mut Vec<u8>>) -> Result<Next, AudioError> {
        if self.is_at_stream {
            return Ok(Next::Stream);
        }
        loop {
            if !self.page.is_empty() {
                let has_ended = self.page.take(&mut self.part);
                if packet.is_none() {
                    self.part.clear();
                }
                if self.part.len() > MOST_PACKET_BYTES {
                    return Err(corrupt("a packet is too long"));
                }
                self.is_in_packet = !has_ended;
                if has_ended {
                    if let Some(packet) = &mut packet {
                        packet.clear();
                        std::mem::swap(*packet, &mut self.part);
                    }
                    return Ok(Next::Packet);
                }
            }
            if !self.page.read(&mut self.source)? {
                return if self.is_in_packet { Err(BROKEN_OFF) } else { Ok(Next::End) };
            }
            if self.page.is_first {
                self.is_at_stream = true;
                return Ok(Next::Stream);
            }
            if self.page.serial != self.serial {
                // The page of a stream that lies beside ours.
                self.page.taken = self.page.count();
                continue;
            }
            if self.page.sequence != self.sequence || self.page.is_continued != self.is_in_packet {
                return Err(corrupt("a page is missing"));
            }
            self.sequence = self.sequence.wrapping_add(1);
        }
    }

    /// Passes over the stream that begins on the current page.
    pub(super) fn pass_over(&mut self) {
        self.is_at_stream = false;
        self.page.taken = self.page.count();
    }

    /// Leaves out the packets that are left on the current page, if they end on it.
    pub(super) fn leave_page(&mut self) {
        if self.page.table().last().is_some_and(|length| *length < 255) {
            self.page.taken = self.page.count();
        }
    }

    /// Whether the last packet that ends on the page was taken.
    pub(super) fn page_is_done(&self) -> bool {
        self.page.table()[self.page.taken..].iter().all(|length| *length == 255)
    }
}

/// CRC-32 with the polynomial 0x04c11db7, neither reflected nor inverted.
fn crc(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = (index as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                value = if value >> 31 == 1 { value << 1 ^ 0x04c1_1db7 } else { value << 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, byte| crc << 8 ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)])
}
