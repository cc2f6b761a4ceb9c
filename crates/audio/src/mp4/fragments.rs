//! Fragments: boxes `moof`, each of which describes samples that follow it (ISO/IEC 14496-12, 8.8).

use std::collections::VecDeque;

use super::boxes::{self, Track, each, read_fields, read_u32, read_u64};
use super::{SampleReader, pass_over};
use crate::AudioError;
use crate::coded::{BROKEN_OFF, Packet, Packets, Step, corrupt};
use crate::input::Input;

/// Most samples of a fragment: an hour of AAC at 96 kHz.
const MOST_SAMPLES: usize = 1 << 19;

/// The samples of all fragments.
pub(super) struct Fragments {
    reader: SampleReader,
    track: u32,
    /// Bytes of samples that have no size of their own.
    default_size: u32,
    end: Option<u64>,
    /// Place and size of what is still to be read of the fragment.
    samples: VecDeque<(u64, u32)>,
    /// Where the next box begins; `None` if the file ends with the samples.
    next_box: Option<u64>,
}

impl Fragments {
    pub(super) fn new(source: Input, track: &Track, end: Option<u64>) -> Self {
        let next_box = Some(source.position());
        let (track, default_size) = (track.id, track.fragment_sample_size);
        Self { reader: SampleReader::new(source), track, default_size, end, samples: VecDeque::new(), next_box }
    }

    /// Reads on to a fragment with samples; false at the end.
    fn next_fragment(&mut self) -> Result<bool, AudioError> {
        while self.samples.is_empty() {
            let Some(next_box) = self.next_box else { return Ok(false) };
            let source = &mut self.reader.source;
            if !source.go_to(next_box)? {
                return Err(BROKEN_OFF);
            }
            let Some(header) = boxes::next(source)? else { return Ok(false) };
            self.next_box = header.end;
            match (&header.kind, header.end) {
                (b"moof", Some(end)) => self.read(header.start, end)?,
                (_, Some(_)) => pass_over(source, &header)?,
                (_, None) => {}
            }
            // Of a stream, what is behind the samples is found only if the header before them is read first.
            let source = &mut self.reader.source;
            if !self.samples.is_empty() && source.peek(8)?.ends_with(b"mdat") {
                self.next_box = boxes::next(source)?.and_then(|header| header.end);
            }
        }
        Ok(true)
    }

    fn read(&mut self, start: u64, end: u64) -> Result<(), AudioError> {
        let Self { reader, track, default_size, samples, .. } = self;
        each(&mut reader.source, end, |source, kind, end| {
            if kind != *b"traf" {
                return Ok(());
            }
            let mut is_ours = false;
            let mut base = start;
            let mut size = *default_size;
            // Where the next run begins unless it says so itself.
            let mut next = start;
            each(source, end, |source, kind, end| match &kind {
                b"tfhd" => {
                    let [flags, id] = read_fields(source)?;
                    is_ours = id == *track;
                    if flags & 1 != 0 {
                        base = read_u64(source)?;
                    }
                    for (flag, is_size) in [(2, false), (8, false), (0x10, true)] {
                        if flags & flag != 0 {
                            let value = read_u32(source)?;
                            size = if is_size { value } else { size };
                        }
                    }
                    next = base;
                    Ok(())
                }
                b"trun" if is_ours => run(source, end, base, size, &mut next, samples),
                _ => Ok(()),
            })
        })
    }
}

/// Reads a run of samples that lie one behind another.
fn run(
    source: &mut Input,
    end: u64,
    base: u64,
    size: u32,
    next: &mut u64,
    samples: &mut VecDeque<(u64, u32)>,
) -> Result<(), AudioError> {
    let [flags, count] = read_fields(source)?;
    if flags & 1 != 0 {
        *next = base.saturating_add_signed(i64::from(read_u32(source)? as i32));
    }
    if flags & 4 != 0 {
        read_u32(source)?;
    }
    let fields = [0x100, 0x200, 0x400, 0x800].map(|flag| flags & flag != 0);
    let row = 4 * fields.iter().filter(|is_there| **is_there).count() as u64;
    for _ in 0..count {
        if source.position() + row > end || samples.len() >= MOST_SAMPLES {
            return Err(corrupt("a fragment has more packets than it has room for"));
        }
        let mut bytes = size;
        for (number, _) in fields.iter().enumerate().filter(|(_, is_there)| **is_there) {
            let value = read_u32(source)?;
            bytes = if number == 1 { value } else { bytes };
        }
        samples.push_back((*next, bytes));
        *next = next.saturating_add(u64::from(bytes));
    }
    Ok(())
}

impl Packets for Fragments {
    fn next(&mut self, packet: &mut Packet) -> Result<Step, AudioError> {
        if !self.next_fragment().map_err(in_the_middle)? {
            return Ok(Step::End);
        }
        if let Some((offset, bytes)) = self.samples.pop_front() {
            self.reader.read(offset, bytes, packet)?;
            packet.end = self.end;
        }
        Ok(Step::Packet)
    }
}

/// What is a malformed header at the beginning of a file is damage later.
fn in_the_middle(error: AudioError) -> AudioError {
    match error {
        AudioError::Malformed { reason, .. } => corrupt(&reason),
        error => error,
    }
}
