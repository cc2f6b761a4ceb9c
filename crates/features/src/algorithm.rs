//! What an algorithm implements, and what it is handed.
//!
//! # Time
//! Samples are numbered. For sensors the number is absolute: sample n is the one at n / rate seconds since
//! 1970, and the first body sample of a recording has number round(start µs x rate / 10^6). For songs it
//! counts from 0. A frame, fast level or other yield belongs to the instant of its *last input sample*.
//! The session drops frames that belong to the lead-in; what is summed by samples starts at
//! [`Stream::first_body_sample`].
//!
//! # Steps
//! Samples come in *steps*, which end at the borders ceil(k x rate / 40) of a 25 ms grid, at the first body
//! sample and at the end. So a step never crosses the border of a second, of a 100 ms block or of a 125 ms
//! level, and is the same however the input was chunked.

use antiphon_audio::stft::StftSpec;

pub use crate::mel::Song;

/// The transform that most algorithms share, and librosa's own choice: 93 ms every 23 ms.
pub const COMMON: StftSpec = StftSpec { rate: 22_050, size: 2_048, hop: 512 };

/// The stream that an algorithm is constructed for.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Source samples per second.
    pub rate: u32,
    /// Source channels.
    pub channels: u16,
    /// Number of the first sample that will be pushed, lead-in included.
    pub first_sample: i64,
    /// Number of the first sample after the lead-in.
    pub first_body_sample: i64,
    /// Whether frames are centred and numbered from 0 (song) rather than on the absolute grid (sensor).
    pub song: bool,
    /// dB re 20 µPa of a mean square of 1, if the source is calibrated.
    pub calibration_db: Option<f64>,
}

impl Stream {
    /// A song's: from sample 0 on, all of it body, its level unknown.
    pub fn of_song(rate: u32, channels: u16) -> Stream {
        Stream { rate, channels, first_sample: 0, first_body_sample: 0, song: true, calibration_db: None }
    }
}

/// What an algorithm wants computed once for all that ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs {
    /// The STFT of the mono mix-down, resampled to the spec's rate.
    pub stft: Option<StftSpec>,
    /// The 128 bands of `mel` with each frame; `stft` must be [`COMMON`] then.
    pub mel: bool,
    /// These bands of the whole of a song once more when it has ended ([`Algorithm::song`]); `mel` must be true then.
    pub song: bool,
}

/// One STFT frame.
pub struct Spectrum<'a> {
    /// Number of the last *source* sample that went into it (resampler delay included).
    pub last_input: i64,
    /// Index of the frame on its grid: its last resampled sample is `index * hop - 1` (sensor) or its centre is
    /// `index * hop` (song).
    pub index: i64,
    /// |X|², `size / 2 + 1` bins, of the windowed frame, unscaled.
    pub power: &'a [f32],
    /// The `size` samples of the frame at the spec's rate, before the window; zeros where it reaches beyond the signal.
    pub samples: &'a [f32],
    /// First and end of what of `samples` is signal; the rest is padding.
    pub inside: (usize, usize),
    /// The bands of `mel` in dB, if they were asked for; else empty.
    pub mel: &'a [f32],
}

/// A running algorithm. Allocation in the constructor, slices in the hot call.
pub trait Algorithm: Send {
    /// What it wants shared.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The next step of samples, one slice per channel, all of one length; `first` is the number of the first.
    fn samples(&mut self, first: i64, channels: &[&[f32]], sink: &mut crate::session::Sink) {
        let _ = (first, channels, sink);
    }

    /// The next frame of the STFT it asked for.
    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut crate::session::Sink) {
        let _ = (spectrum, sink);
    }

    /// A song has ended: all of it, for what its definition refers to the loudest or the usual of the whole. Comes before
    /// [`Algorithm::finish`], and only to who asked for it.
    fn song(&mut self, song: &Song, sink: &mut crate::session::Sink) {
        let _ = (song, sink);
    }

    /// The stream has ended; `end` is the number after the last sample.
    fn finish(&mut self, end: i64, sink: &mut crate::session::Sink) {
        let _ = (end, sink);
    }
}
