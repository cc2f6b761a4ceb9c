//! Native FLAC (RFC 9639): the metadata is read here, frames are found and decoded by Symphonia.
//!
//! Symphonia sees a stream that holds nothing but the stream information and the frames: pictures and comments of any
//! size are read over, never kept. It skips frames whose checksum fails; that shows in the numbering of the
//! next, and ends the decoding, since silence must not be invented and time must not shift.

use std::io::{Cursor, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::audio::{Audio, GenericAudioBufferRef};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions, ReadOnlySource};
use symphonia::default::codecs::FlacDecoder;

use crate::decode::{Info, Planes};
use crate::input::Input;
use crate::wav::{read_header, skip};
use crate::{AudioError, BLOCK_FRAMES, Format};

/// Bytes of a STREAMINFO block.
const STREAM_INFO_BYTES: usize = 34;
/// Highest rate that a frame header can hold; beyond it says "as in the stream information".
const FRAME_HEADER_RATE: u32 = 655_350;
/// Bytes of an ID3v1 tag, which some programs append to any file.
const TAIL_TAG_BYTES: usize = 128;

/// Most bytes that are searched for a frame: more than any frame has, many times over.
const MOST_SEARCHED_BYTES: u64 = 32 << 20;

pub(crate) struct FlacReader {
    demuxer: Box<dyn FormatReader>,
    decoder: FlacDecoder,
    /// Symphonia fills 32 bits from the top.
    shift: u32,
    frames: Option<u64>,
    /// Frames decoded, whether or not they were handed on.
    decoded: u64,
    /// What was handed on of the packet that was decoded last.
    taken: usize,
    /// Bytes that were read from the source, and bytes that became packets: a rest is a frame that broke off.
    bytes_read: Arc<AtomicU64>,
    bytes_decoded: u64,
    /// Bytes that were read since a packet was found.
    searched: Arc<AtomicU64>,
}

impl FlacReader {
    /// Reads all up to the first frame.
    pub(crate) fn open(mut source: Input) -> Result<(Self, Info), AudioError> {
        let mut stream_info = read_metadata(&mut source)?;
        let info = parse(&stream_info)?;
        refuse_what_frames_cannot_hold(&info)?;
        let mut sync = [0; 2];
        read_header(&mut source, &mut sync)?;
        agree_on_block_sizes(&mut stream_info, sync);
        if info.rate > FRAME_HEADER_RATE {
            // Symphonia refuses what no frame header can hold. No sample depends on it.
            let low_bits = stream_info[12] & 0x0f;
            stream_info[10..13].copy_from_slice(&(FRAME_HEADER_RATE << 4 | u32::from(low_bits)).to_be_bytes()[1..]);
        }

        let mut header = b"fLaC\x80\0\0\x22".to_vec();
        header.extend(stream_info);
        let (bytes_read, searched) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let frames = FrameBytes {
            source: Box::new(Cursor::new(sync).chain(source)),
            buffer: Vec::with_capacity(2 * TAIL_TAG_BYTES + FrameBytes::CHUNK),
            ended: false,
            bytes_read: bytes_read.clone(),
            searched: searched.clone(),
        };
        let source = ReadOnlySource::new(Cursor::new(header).chain(frames));
        let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
        let demuxer = symphonia::default::formats::FlacReader::try_new(stream, FormatOptions::default())
            .map_err(|error| failure(error, 0))?;
        let track = demuxer.tracks().first().and_then(|track| track.codec_params.as_ref()?.audio().cloned());
        let parameters = track.ok_or_else(|| malformed("no stream information"))?;
        let decoder = FlacDecoder::try_new(&parameters, &AudioDecoderOptions::default().verify(false))
            .map_err(|error| failure(error, 0))?;
        let reader = Self {
            demuxer: Box::new(demuxer),
            decoder,
            shift: 32 - u32::from(info.bits),
            frames: info.frames,
            decoded: 0,
            taken: 0,
            bytes_read,
            bytes_decoded: 0,
            searched,
        };
        Ok((reader, info))
    }

    /// Decodes the next samples and returns how many frames; 0 at the end.
    pub(crate) fn fill(&mut self, planes: &mut Planes) -> Result<usize, AudioError> {
        while self.taken == self.decoder.last_decoded().frames() {
            if !self.next_packet()? {
                return Ok(0);
            }
        }
        let GenericAudioBufferRef::S32(block) = self.decoder.last_decoded() else {
            return Err(malformed("samples of an unknown kind"));
        };
        let end = block.frames().min(self.taken + BLOCK_FRAMES);
        for (channel, plane) in planes.integers.iter_mut().enumerate() {
            let samples = block.plane(channel).ok_or_else(|| malformed("a channel is missing"))?;
            plane.clear();
            plane.extend(samples[self.taken..end].iter().map(|sample| sample >> self.shift));
        }
        let frames = end - self.taken;
        self.taken = end;
        Ok(frames)
    }

    /// Decodes one packet; false at the end.
    fn next_packet(&mut self) -> Result<bool, AudioError> {
        if self.frames.is_some_and(|frames| self.decoded >= frames) {
            return Ok(false);
        }
        let Some(packet) = self.demuxer.next_packet().map_err(|error| failure(error, self.decoded))? else {
            let broken_off = self.frames.is_some() || self.bytes_read.load(Ordering::Relaxed) > self.bytes_decoded;
            return if broken_off { Err(AudioError::Truncated { frames: self.decoded }) } else { Ok(false) };
        };
        if u64::try_from(packet.pts.get()) != Ok(self.decoded) {
            return Err(AudioError::Corrupt { frames: self.decoded, reason: "a frame is damaged or missing".into() });
        }
        self.bytes_decoded += packet.data.len() as u64;
        self.searched.store(0, Ordering::Relaxed);
        self.taken = 0;
        // The packet lies in memory: whatever fails, it is not the source.
        let damaged = |error: Error| AudioError::Corrupt { frames: self.decoded, reason: error.to_string() };
        let frames = self.decoder.decode(&packet).map_err(damaged)?.frames();
        self.decoded += frames as u64;
        Ok(true)
    }
}

/// Reads the marker and all up to the first frame, and returns the stream information.
fn read_metadata(source: &mut Input) -> Result<[u8; STREAM_INFO_BYTES], AudioError> {
    read_header(source, &mut [0; 4])?;
    let mut stream_info = None;
    loop {
        let mut header = [0; 4];
        read_header(source, &mut header)?;
        let length = u32::from_be_bytes([0, header[1], header[2], header[3]]);
        match (header[0] & 0x7f, stream_info) {
            (0, None) if length as usize == STREAM_INFO_BYTES => {
                let mut bytes = [0; STREAM_INFO_BYTES];
                read_header(source, &mut bytes)?;
                stream_info = Some(bytes);
            }
            (0, _) => return Err(malformed("the stream information is repeated or of a wrong length")),
            (_, None) => return Err(malformed("the stream information does not come first")),
            (127, _) => return Err(malformed("a metadata block of the forbidden type")),
            _ => skip(source, u64::from(length))?,
        }
        if let (true, Some(bytes)) = (header[0] & 0x80 != 0, stream_info) {
            return Ok(bytes);
        }
    }
}

/// Refuses stereo of 32 bits: the difference of two such channels has 33, which Symphonia cannot hold.
pub(crate) fn refuse_what_frames_cannot_hold(info: &Info) -> Result<(), AudioError> {
    if info.bits == 32 && info.channels == 2 {
        return Err(AudioError::Unsupported("stereo FLAC of 32 bits".into()));
    }
    Ok(())
}

/// RFC 9639, section 8.2.
pub(crate) fn parse(stream_info: &[u8; STREAM_INFO_BYTES]) -> Result<Info, AudioError> {
    let mut packed = [0; 8];
    packed.copy_from_slice(&stream_info[10..18]);
    let packed = u64::from_be_bytes(packed);
    let rate = (packed >> 44) as u32;
    let channels = (packed >> 41 & 0x7) as u16 + 1;
    let bits = (packed >> 36 & 0x1f) as u16 + 1;
    let frames = packed & 0xf_ffff_ffff;
    crate::decode::check(rate, channels)?;
    if bits < 4 {
        return Err(malformed("fewer than 4 bits per sample"));
    }
    Ok(Info { format: Format::Flac, rate, channels, bits, float: false, frames: (frames > 0).then_some(frames) })
}

/// Some encoders count a short last block among the block sizes, or write equal ones although they vary. The
/// first frame's blocking strategy decides what is true, and Symphonia relies on the sizes.
fn agree_on_block_sizes(stream_info: &mut [u8; STREAM_INFO_BYTES], sync: [u8; 2]) {
    let is_variable = sync[1] & 1 == 1;
    let (smallest, largest) = stream_info[..4].split_at_mut(2);
    if !is_variable {
        smallest.copy_from_slice(largest);
    } else if smallest == largest {
        smallest.copy_from_slice(&16_u16.to_be_bytes());
    }
}

fn malformed(reason: &str) -> AudioError {
    AudioError::Malformed { format: Format::Flac, reason: reason.into() }
}

/// What a Symphonia error means after `frames` good samples.
fn failure(error: Error, frames: u64) -> AudioError {
    match error {
        Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => AudioError::Truncated { frames },
        Error::IoError(error) if error.kind() == ErrorKind::InvalidData => {
            AudioError::Corrupt { frames, reason: error.to_string() }
        }
        Error::IoError(error) => error.into(),
        error => AudioError::Corrupt { frames, reason: error.to_string() },
    }
}

/// The frames of a file, without an ID3v1 tag behind them: it would spoil the last frame's checksum.
struct FrameBytes {
    source: Box<dyn Read + Send + Sync>,
    /// Read but not handed on; before the end always more than a tag.
    buffer: Vec<u8>,
    ended: bool,
    bytes_read: Arc<AtomicU64>,
    /// Bytes that were handed on since a frame was found.
    searched: Arc<AtomicU64>,
}

impl FrameBytes {
    const CHUNK: usize = 16_384;

    fn refill(&mut self) -> std::io::Result<()> {
        let old = self.buffer.len();
        self.buffer.resize(old + Self::CHUNK, 0);
        let read = self.source.read(&mut self.buffer[old..]);
        self.buffer.truncate(old + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        self.ended = true;
        let tail = self.buffer.len().saturating_sub(TAIL_TAG_BYTES);
        if self.buffer.len() >= TAIL_TAG_BYTES && self.buffer[tail..].starts_with(b"TAG") {
            self.buffer.truncate(tail);
        }
        Ok(())
    }
}

impl Read for FrameBytes {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        while !self.ended && self.buffer.len() <= TAIL_TAG_BYTES {
            self.refill()?;
        }
        let held_back = if self.ended { 0 } else { TAIL_TAG_BYTES };
        let count = target.len().min(self.buffer.len() - held_back);
        target[..count].copy_from_slice(&self.buffer[..count]);
        self.buffer.drain(..count);
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        // A stream without an end could be searched for ever.
        if self.searched.fetch_add(count as u64, Ordering::Relaxed) > MOST_SEARCHED_BYTES {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "no frame for a long while"));
        }
        Ok(count)
    }
}
