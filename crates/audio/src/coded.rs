//! Compressed audio: packets from a container, through a codec, and of what comes out the part that is audio.

use crate::decode::Planes;
use crate::{AudioError, BLOCK_FRAMES};

/// Most bytes of one packet. The largest of the formats here, a second of eight channels of 24 bits in FLAC, has
/// fewer; what is larger is damage.
pub(crate) const MOST_PACKET_BYTES: usize = 4 << 20;

/// Most packets in a row that decode to nothing. One or two are usual, where a codec begins.
const MOST_EMPTY_PACKETS: u32 = 10_000;

/// One packet.
#[derive(Default)]
pub(crate) struct Packet {
    pub(crate) data: Vec<u8>,
    /// What this packet yields from here on is padding; counted in frames since the codec began, with those that
    /// are not audio.
    pub(crate) end: Option<u64>,
    /// As how many frames the container counts those up to the end of this packet. Files that editors joined go on behind their
    /// end, or begin anew amid: what follows is counted from here, as libvorbis does.
    pub(crate) reached: Option<i64>,
    /// So many frames at the end of what this packet yields are padding.
    pub(crate) padding: u64,
}

impl Packet {
    pub(crate) fn clear(&mut self) {
        self.data.clear();
        (self.end, self.reached) = (None, None);
        self.padding = 0;
    }
}

/// What a container gives.
pub(crate) enum Step {
    /// The packet is filled.
    Packet,
    /// Another codec begins, as if it were another file; what it decodes follows what came before.
    Codec(Box<dyn Codec>, Lead),
    /// Nothing more.
    End,
}

/// What the codec yields at first and is no audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lead {
    /// Frames to leave out.
    pub(crate) frames: u64,
}

/// A container that is read front to back. Errors need not know how many frames were good.
pub(crate) trait Packets: Send + Sync {
    /// Fills `packet`, which was cleared.
    fn next(&mut self, packet: &mut Packet) -> Result<Step, AudioError>;
}

/// A codec. Its channels come in the order of WAVE: front left, right, centre, LFE, back, side.
pub(crate) trait Codec: Send + Sync {
    /// Decodes a packet; how many frames it yields. The error says what is wrong with it.
    fn decode(&mut self, packet: &[u8]) -> Result<usize, String>;
    /// Puts frames of the packet that was decoded last into the planes.
    fn copy(&self, frames: std::ops::Range<usize>, planes: &mut Planes);
}

/// Decodes what a container holds.
pub(crate) struct CodedReader {
    packets: Box<dyn Packets>,
    codec: Box<dyn Codec>,
    packet: Packet,
    lead: Lead,
    /// Frames since the codec began, with those that are no audio.
    decoded: u64,
    /// How many of these the container does not count.
    uncounted: i64,
    /// Frames up to which audio began anew: those of the first packet behind packets that are no audio.
    anew: Option<u64>,
    /// What is still to be handed on of the packet that was decoded last.
    rest: std::ops::Range<usize>,
    /// Frames handed on.
    frames: u64,
    /// Frames that the header claims.
    claimed: Option<u64>,
    /// Packets in a row that decoded to nothing.
    empty: u32,
}

impl CodedReader {
    pub(crate) fn new(packets: Box<dyn Packets>, codec: Box<dyn Codec>, lead: Lead, claimed: Option<u64>) -> Self {
        let packet = Packet::default();
        Self {
            packets,
            codec,
            packet,
            lead,
            decoded: 0,
            uncounted: 0,
            anew: None,
            rest: 0..0,
            frames: 0,
            claimed,
            empty: 0,
        }
    }

    /// Decodes the next frames and returns how many; 0 at the end.
    pub(crate) fn fill(&mut self, planes: &mut Planes) -> Result<usize, AudioError> {
        while self.rest.is_empty() {
            if !self.decode_next()? {
                return Ok(0);
            }
        }
        let end = self.rest.end.min(self.rest.start + BLOCK_FRAMES);
        self.codec.copy(self.rest.start..end, planes);
        planes.replace_what_is_no_number();
        let frames = end - self.rest.start;
        self.rest.start = end;
        self.frames += frames as u64;
        Ok(frames)
    }

    /// Decodes one packet; false at the end.
    fn decode_next(&mut self) -> Result<bool, AudioError> {
        self.packet.clear();
        match self.packets.next(&mut self.packet).map_err(|error| self.counted(error))? {
            Step::Packet => {}
            Step::Codec(codec, lead) => {
                (self.codec, self.lead) = (codec, lead);
                (self.decoded, self.uncounted, self.anew) = (0, 0, None);
                return Ok(true);
            }
            Step::End if self.claimed.is_some_and(|claimed| self.frames < claimed) => {
                return Err(AudioError::Truncated { frames: self.frames });
            }
            Step::End => return Ok(false),
        }
        // Some encoders end a stream with a packet that holds nothing.
        let frames = if self.packet.data.is_empty() { 0 } else { self.decode_packet()? };
        let is_anew = self.empty > 0 && self.decoded > 0;
        self.empty = if frames == 0 { self.empty + 1 } else { 0 };
        if self.empty > MOST_EMPTY_PACKETS {
            return Err(AudioError::Corrupt { frames: self.frames, reason: "packets without any audio".into() });
        }
        if frames == 0 {
            return Ok(true);
        }
        let first = self.decoded;
        self.decoded += frames as u64;
        let end = self.packet.end.map_or(u64::MAX, |end| end.saturating_add_signed(self.uncounted));
        let end = self.decoded.saturating_sub(self.packet.padding).min(end);
        let inside = |frame: u64| usize::try_from(frame.saturating_sub(first)).map_or(frames, |at| at.min(frames));
        self.rest = inside(self.lead.frames)..inside(end);
        if is_anew {
            self.anew = Some(self.decoded);
        }
        if let Some(reached) = self.packet.reached {
            let surplus = |since: u64| i64::try_from(self.decoded - since).unwrap_or(i64::MAX).saturating_sub(reached);
            let anew = self.anew.take().filter(|_| self.packet.end.is_none()).map(surplus);
            self.uncounted = surplus(0);
            // As at the beginning of a file, more than the first position says is left out, as far as it is still there.
            let left_out = anew.and_then(|surplus| usize::try_from(surplus).ok()).unwrap_or(0);
            self.rest.start += left_out.min(frames);
        }
        Ok(true)
    }

    /// Decodes the packet. A panic inside a codec ends the file as damage does: the codecs are others' code, and no
    /// file may stop a worker.
    fn decode_packet(&mut self) -> Result<usize, AudioError> {
        let (codec, data) = (&mut self.codec, &self.packet.data);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| codec.decode(data)))
            .unwrap_or_else(|_| Err(String::from("the decoder failed")))
            .map_err(|reason| AudioError::Corrupt { frames: self.frames, reason })
    }

    /// Says in an error how many frames were good.
    fn counted(&self, error: AudioError) -> AudioError {
        match error {
            AudioError::Truncated { .. } => AudioError::Truncated { frames: self.frames },
            AudioError::Corrupt { reason, .. } => AudioError::Corrupt { frames: self.frames, reason },
            error => error,
        }
    }
}

/// Damage in a container; [`CodedReader`] adds after how many frames.
pub(crate) fn corrupt(reason: &str) -> AudioError {
    AudioError::Corrupt { frames: 0, reason: reason.into() }
}

/// A container that breaks off; [`CodedReader`] adds after how many frames.
pub(crate) const BROKEN_OFF: AudioError = AudioError::Truncated { frames: 0 };
