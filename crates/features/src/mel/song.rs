//! The bands of a whole song, for definitions that refer to the loudest of all.

use super::{BANDS, SPEC};

/// Frames of 20 minutes: the longest song of which they are kept, in 26 MB.
const LONGEST: usize = 20 * 60 * SPEC.rate as usize / SPEC.hop as usize;

/// Frames that are kept in one piece: a minute, so that nothing large is moved as a song grows.
const PIECE: usize = 60 * SPEC.rate as usize / SPEC.hop as usize;

/// How far below the loudest band of the whole song all counts as equal, in dB: librosa's `top_db`.
const TOP_DB: f32 = 80.0;

/// Why a song has no value of what takes the whole of it.
pub(crate) const TOO_LONG: &str = "the song is longer than 20 minutes";

/// The bands of `mel` of a song, as long as it is not too long: of 12 hours they would be 950 MB.
pub struct Song {
    /// Frames one after the other; `None` once there are too many.
    pieces: Option<Vec<Vec<f32>>>,
    frames: usize,
    longest: usize,
    loudest: f32,
}

impl Song {
    pub(crate) fn new() -> Song {
        Song::up_to(LONGEST)
    }

    /// Keeps so many frames at most.
    fn up_to(longest: usize) -> Song {
        Song { pieces: Some(Vec::new()), frames: 0, longest, loudest: f32::NEG_INFINITY }
    }

    pub(crate) fn push(&mut self, bands: &[f32]) {
        self.frames += 1;
        if self.frames > self.longest {
            self.pieces = None;
        }
        let Some(pieces) = &mut self.pieces else { return };
        self.loudest = bands.iter().copied().fold(self.loudest, f32::max);
        match pieces.last_mut().filter(|piece| piece.len() < PIECE * BANDS) {
            Some(piece) => piece.extend_from_slice(bands),
            None => {
                let mut piece = Vec::with_capacity(PIECE * BANDS);
                piece.extend_from_slice(bands);
                pieces.push(piece);
            }
        }
    }

    /// Its frames in order, each with the 128 bands in dB; `None` if the song is longer than 20 minutes.
    pub fn frames(&self) -> Option<impl ExactSizeIterator<Item = &[f32]> + Clone> {
        let pieces = self.pieces.as_ref()?;
        Some((0..self.frames).map(|frame| {
            let first = frame % PIECE * BANDS;
            &pieces[frame / PIECE][first..first + BANDS]
        }))
    }

    /// 80 dB below the loudest band of any frame, in dB: what lies lower is to count as this.
    pub fn floor(&self) -> f32 {
        self.loudest - TOP_DB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_in_order_up_to_the_longest_song() {
        let frame = |number: usize| [number as f32 - 90.0; BANDS];
        for frames in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let mut song = Song::up_to(3 * PIECE);
            (0..frames).for_each(|number| song.push(&frame(number)));
            let found = song.frames().expect("it is short");
            assert_eq!(found.len(), frames);
            assert!(found.enumerate().all(|(number, bands)| bands == frame(number)));
            if frames > 0 {
                assert_eq!(song.floor(), frames as f32 - 1.0 - 90.0 - 80.0);
            }
        }
        let mut song = Song::up_to(3 * PIECE);
        (0..=3 * PIECE).for_each(|number| song.push(&frame(number)));
        assert!(song.frames().is_none());
        song.push(&frame(0));
        assert!(song.frames().is_none(), "and so it stays");
    }

    #[test]
    fn the_longest_song_is_the_one_that_is_told() {
        let seconds = LONGEST as f64 * f64::from(SPEC.hop) / f64::from(SPEC.rate);
        assert!((seconds / 60.0 - 20.0).abs() < 1e-3 && TOO_LONG.contains("20 minutes"));
        assert!(LONGEST * BANDS * size_of::<f32>() < 27_000_000);
    }
}
