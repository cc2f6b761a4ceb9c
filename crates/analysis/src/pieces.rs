//! Cuts a stream of samples into the pieces that a sensor sends: `antiphon sensor record`, `simulate` and role
//! `receive`.

mod timeline;

use antiphon_audio::AudioError;
use antiphon_audio::encode::{self, PcmFormat, Samples};
use antiphon_platform::clock::{Micros, SECOND};

pub use timeline::{Following, Interruption, Timeline, duration};

/// The most by which a stream may reach back into what was sent before and be shortened for it; a clock that was set back
/// by more is believed.
const REACH_BACK: Micros = 60 * SECOND;

/// One audio file as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// When the first sample after the lead-in was heard, µs since 1970.
    pub start: Micros,
    /// How much of the front was sent before, µs.
    pub lead_in: Micros,
    /// How long it lasts without the lead-in, µs.
    pub duration: Micros,
    /// The FLAC file.
    pub audio: Vec<u8>,
}

/// What a [`Cutter`] holds of a piece that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending<'a> {
    /// When the first sample after the lead-in was heard, µs since 1970; of the first piece only about.
    pub start: Micros,
    /// How much of the front was sent before, µs.
    pub lead_in: Micros,
    /// Interleaved: the lead-in, then what is not yet sent.
    pub samples: &'a [i32],
}

/// How pieces are cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Length of a piece, µs. Pieces end at multiples of it since 1970.
    pub piece: Micros,
    /// Audio repeated in front of each, µs.
    pub lead_in: Micros,
}

/// Cuts one stream of one format.
pub struct Cutter {
    cut: Cut,
    format: PcmFormat,
    timeline: Timeline,
    /// Interleaved samples: the lead-in, then what is not yet sent.
    samples: Vec<i32>,
    /// Frames of `samples` that were sent before.
    lead_frames: usize,
    /// Number of the first frame that is not yet sent.
    first: u64,
    /// Whether the time of the first piece is certain.
    is_settled: bool,
    /// Up to when was sent; of streams that go on behind others.
    sent_until: Option<Micros>,
}

impl Cutter {
    /// For samples of `format`, whose times `timeline` tells.
    pub fn new(cut: Cut, format: PcmFormat, timeline: Timeline) -> Self {
        let first = timeline.frames();
        Self { cut, format, timeline, samples: Vec::new(), lead_frames: 0, first, is_settled: false, sent_until: None }
    }

    /// Goes on behind what was sent before up to `end`: what comes again of that, as servers repeat the last seconds to
    /// who connects, is left out.
    #[must_use]
    pub fn behind(self, end: Micros) -> Self {
        Self { sent_until: Some(end), ..self }
    }

    /// The count of the stream.
    pub fn timeline(&mut self) -> &mut Timeline {
        &mut self.timeline
    }

    /// What the samples are.
    pub fn format(&self) -> &PcmFormat {
        &self.format
    }

    /// What came and is in no piece yet.
    #[must_use]
    pub fn pending(&self) -> Pending<'_> {
        Pending {
            start: self.timeline.time_of(self.first),
            lead_in: duration(self.lead_frames as u64, self.format.rate),
            samples: &self.samples,
        }
    }

    /// Takes interleaved samples that arrived at `arrival`; the pieces that are complete with them.
    ///
    /// # Errors
    /// [`AudioError`] when the format cannot be encoded.
    pub fn push(&mut self, samples: &[i32], arrival: Micros) -> Result<Vec<Piece>, AudioError> {
        self.samples.extend_from_slice(samples);
        let frames = (samples.len() / usize::from(self.format.channels)) as u64;
        let interruption = self.timeline.arrived(frames, arrival);
        let mut pieces = self.complete_pieces()?;
        if let Some(interruption) = interruption {
            self.leave_out();
            if interruption.frame > self.first {
                pieces.push(self.cut_before(interruption.frame)?);
            }
            self.timeline.restart(interruption);
            self.forget_lead_in();
            pieces.extend(self.complete_pieces()?);
        }
        Ok(pieces)
    }

    /// What is left, as a last piece that may be short.
    ///
    /// # Errors
    /// [`AudioError`] when the format cannot be encoded.
    pub fn finish(&mut self) -> Result<Option<Piece>, AudioError> {
        if !self.is_settled {
            self.is_settled = true;
            self.timeline.settle();
        }
        self.leave_out();
        let end = self.timeline.frames();
        if end == self.first { Ok(None) } else { self.cut_before(end).map(Some) }
    }

    fn complete_pieces(&mut self) -> Result<Vec<Piece>, AudioError> {
        let mut pieces = Vec::new();
        loop {
            let end = self.end();
            if end > self.timeline.certain() {
                return Ok(pieces);
            }
            if !self.is_settled {
                self.is_settled = true;
                self.timeline.settle();
                continue;
            }
            if self.leave_out() {
                continue;
            }
            pieces.push(self.cut_before(end)?);
            self.timeline.correct(end);
        }
    }

    /// Where the current piece ends.
    fn end(&self) -> u64 {
        let start = self.timeline.time_of(self.first);
        let mut border = (start.div_euclid(self.cut.piece) + 1) * self.cut.piece;
        // No piece is much shorter than the others because the stream began, or was shifted, just before a border.
        if border - start < self.cut.piece / 4 {
            border += self.cut.piece;
        }
        self.timeline.frame_at(border)
    }

    /// Leaves out what lies before the end of what was sent; whether there was something.
    fn leave_out(&mut self) -> bool {
        let Some(until) = self.sent_until else { return false };
        let back = until - self.timeline.time_of(self.first);
        if self.lead_frames > 0 || !(1..=REACH_BACK).contains(&back) {
            return false;
        }
        let end = self.timeline.frame_at(until).min(self.timeline.certain());
        let frames = end.saturating_sub(self.first);
        self.samples.drain(..frames as usize * usize::from(self.format.channels));
        self.first += frames;
        frames > 0
    }

    fn cut_before(&mut self, end: u64) -> Result<Piece, AudioError> {
        let channels = usize::from(self.format.channels);
        let frames = (end - self.first) as usize;
        let in_samples = (self.lead_frames + frames) * channels;
        let audio = encode::flac(&self.format, Samples::Integers(&self.samples[..in_samples]))?;
        let piece = Piece {
            start: self.timeline.time_of(self.first),
            lead_in: duration(self.lead_frames as u64, self.format.rate),
            duration: duration(frames as u64, self.format.rate),
            audio,
        };
        let wanted = (i128::from(self.cut.lead_in) * i128::from(self.format.rate) / 1_000_000) as usize;
        self.lead_frames = wanted.min(self.lead_frames + frames);
        self.samples.drain(..in_samples - self.lead_frames * channels);
        self.first = end;
        self.sent_until = self.sent_until.map(|_| self.timeline.time_of(end));
        Ok(piece)
    }

    fn forget_lead_in(&mut self) {
        self.samples.drain(..self.lead_frames * usize::from(self.format.channels));
        self.lead_frames = 0;
    }
}

#[cfg(test)]
mod tests {
    use antiphon_audio::decode::{Decoder, Limits};
    use antiphon_platform::clock::SECOND;

    use super::*;

    const FORMAT: PcmFormat = PcmFormat { rate: 16_000, channels: 2, bits: 16, float: false };
    const CUT: Cut = Cut { piece: 10 * SECOND, lead_in: 2 * SECOND };

    fn samples(frames: usize) -> Vec<i32> {
        (0..2 * frames).map(|index| (index * 7_919 % 30_000) as i32).collect()
    }

    fn decoded(piece: &Piece) -> Vec<i32> {
        let mut decoder = Decoder::from_bytes(piece.audio.clone().into(), Limits::default()).unwrap();
        let mut samples = Vec::new();
        while let Some(block) = decoder.next_integers().unwrap() {
            for frame in 0..block.frames() {
                samples.extend(block.channels().iter().map(|channel| channel[frame]));
            }
        }
        samples
    }

    #[test]
    fn pieces_follow_each_other_and_repeat_their_lead_in() {
        let all = samples(16_000 * 35);
        let start = 1_777_593_603_250_000;
        let mut cutter = Cutter::new(CUT, FORMAT, Timeline::counted(16_000, start));
        let mut pieces = Vec::new();
        for block in all.chunks(2 * 1_234) {
            pieces.extend(cutter.push(block, 0).unwrap());
            let (pending, last) = (cutter.pending(), pieces.last());
            let sent_until = last.map_or(start, |piece: &Piece| piece.start + piece.duration);
            assert_eq!((pending.start, pending.lead_in), (sent_until, if last.is_some() { 2_000_000 } else { 0 }));
            assert!(pending.samples.ends_with(block));
        }
        pieces.extend(cutter.finish().unwrap());
        let lengths: Vec<Micros> = pieces.iter().map(|piece| piece.duration).collect();
        assert_eq!(lengths, [6_750_000, 10_000_000, 10_000_000, 8_250_000]);
        let (mut time, mut at) = (start, 0);
        for (number, piece) in pieces.iter().enumerate() {
            assert_eq!(piece.start, time);
            assert_eq!(piece.lead_in, if number == 0 { 0 } else { 2_000_000 });
            let lead = piece.lead_in as usize * 16 / 1_000 * 2;
            let end = at + piece.duration as usize * 16 / 1_000 * 2;
            assert_eq!(decoded(piece), all[at - lead..end], "piece {number}");
            (time, at) = (time + piece.duration, end);
        }
        assert_eq!(at, all.len());
        assert!(cutter.finish().unwrap().is_none());
    }

    #[test]
    fn a_stream_that_begins_just_before_a_border_has_no_tiny_piece() {
        let mut cutter = Cutter::new(CUT, FORMAT, Timeline::counted(16_000, 1_777_593_609_000_000));
        let pieces = cutter.push(&samples(16_000 * 30), 0).unwrap();
        assert_eq!(pieces[0].duration, 11_000_000);
        assert_eq!(pieces[1].start, 1_777_593_620_000_000);
    }

    #[test]
    fn after_an_interruption_there_is_no_lead_in() {
        let mut cutter = Cutter::new(CUT, FORMAT, Timeline::live(16_000, 16_000, 11 * SECOND));
        let second = samples(16_000);
        let mut pieces = Vec::new();
        // A second arrives every second; after fifteen of them nothing comes for a minute.
        for number in 0..30 {
            let late = if number < 15 { 0 } else { 60 };
            pieces.extend(cutter.push(&second, (11 + number + late) * SECOND).unwrap());
        }
        pieces.extend(cutter.finish().unwrap());
        let told: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.start / SECOND, piece.duration / SECOND, piece.lead_in / SECOND))
            .collect();
        assert_eq!(told, [(10, 10, 0), (20, 5, 2), (85, 5, 0), (90, 10, 2)]);
    }

    /// Start, length and lead-in of pieces, in ms since 10 s.
    fn told(pieces: &[Piece]) -> Vec<(Micros, Micros, Micros)> {
        pieces
            .iter()
            .map(|piece| ((piece.start - 10 * SECOND) / 1_000, piece.duration / 1_000, piece.lead_in / 1_000))
            .collect()
    }

    #[test]
    fn what_a_server_repeats_to_who_connects_is_heard_before_and_sent_once() {
        let following = Following { settle: 2 * SECOND, ..Following::STREAM };
        let all = samples(16_000 * 40);
        // Four seconds come at once, the rest as it is heard: the last of the four seconds was heard just now.
        let arrival = |block: usize| 20 * SECOND + block.saturating_sub(39) as Micros * 100_000;
        for (sent_until, expected) in [
            (None, vec![(6_000, 4_000, 0), (10_000, 10_000, 2_000), (20_000, 10_000, 2_000)]),
            (Some(18_500_000), vec![(8_500, 11_500, 0), (20_000, 10_000, 2_000)]),
            // A gap stays one, and who was set back by more than a minute is believed.
            (Some(11_000_000), vec![(6_000, 4_000, 0), (10_000, 10_000, 2_000), (20_000, 10_000, 2_000)]),
            (Some(500_000_000), vec![(6_000, 4_000, 0), (10_000, 10_000, 2_000), (20_000, 10_000, 2_000)]),
        ] {
            let first = all.chunks(2 * 1_600).next().unwrap().len() as u64 / 2;
            let mut cutter = Cutter::new(CUT, FORMAT, Timeline::following(16_000, first, arrival(0), following));
            if let Some(end) = sent_until {
                cutter = cutter.behind(end);
            }
            let mut pieces = Vec::new();
            for (number, block) in all.chunks(2 * 1_600).enumerate().take(251) {
                pieces.extend(cutter.push(block, arrival(number)).unwrap());
            }
            assert_eq!(told(&pieces), expected, "{sent_until:?}");
        }
    }
}
