//! A few original pieces of music, composed as tables and played by arithmetic.

mod compositions;
mod instruments;
mod voice;

use instruments::{Performance, Score};

/// Frames per second of pieces, which are stereo.
pub const MUSIC_RATE: u32 = 44_100;

/// A piece of music.
#[derive(Clone, Copy)]
pub struct Piece {
    /// Its title.
    pub title: &'static str,
    /// Who plays.
    pub artist: &'static str,
    /// The album.
    pub album: &'static str,
    /// Its place there, from 1.
    pub track: u32,
    /// Its length in seconds.
    seconds: f32,
    compose: fn(&mut Score),
}

/// All pieces: one album.
pub const PIECES: [Piece; 5] = [
    piece(1, "Paper Lanterns", "The Arithmeticians", 54.0, compositions::paper_lanterns),
    piece(2, "Switchyard", "The Arithmeticians", 50.0, compositions::switchyard),
    piece(3, "Low Water", "The Arithmeticians", 56.0, compositions::low_water),
    piece(4, "Call and Answer", "The Formants", 48.0, compositions::call_and_answer),
    piece(5, "Forecast for Nowhere", "The Formants", 40.0, compositions::forecast),
];

const fn piece(track: u32, title: &'static str, artist: &'static str, seconds: f32, compose: fn(&mut Score)) -> Piece {
    Piece { title, artist, album: "First Light", track, seconds, compose }
}

/// Samples that are played at a time.
const BLOCK: usize = 8_192;

/// The peak of a piece: -1 dB of full scale.
const PEAK: f32 = 32_767.0 * 0.891;

/// Seconds at the end that are faded out.
const FADE: f32 = 0.8;

impl Piece {
    /// Its length in frames.
    #[must_use]
    pub fn frames(&self) -> usize {
        (self.seconds * MUSIC_RATE as f32) as usize
    }

    /// Plays it: `hear` gets block after block of interleaved 16 bit integers of two channels at [`MUSIC_RATE`], the loudest at
    /// -1 dB of full scale.
    ///
    /// # Errors
    /// What `hear` says; the piece is broken off then.
    pub fn play<E>(&self, mut hear: impl FnMut(&[i32]) -> Result<(), E>) -> Result<(), E> {
        let mut block = vec![0.0; BLOCK];
        // How loud it becomes is known when it was heard, so it is played twice.
        let (mut performance, mut most) = (self.perform(), f32::MIN_POSITIVE);
        while let count @ 1.. = performance.next(&mut block) {
            most = block[..count].iter().fold(most, |most, sample| most.max(sample.abs()));
        }
        let (mut performance, scale) = (self.perform(), PEAK / most);
        let (mut left, fade) = (2 * self.frames(), 2.0 * FADE * MUSIC_RATE as f32);
        let mut integers = Vec::with_capacity(BLOCK);
        while let count @ 1.. = performance.next(&mut block) {
            integers.clear();
            integers.extend(block[..count].iter().map(|sample| {
                left -= 1;
                (sample * scale * (left as f32 / fade).min(1.0)).round_ties_even() as i32
            }));
            hear(&integers)?;
        }
        Ok(())
    }

    fn perform(&self) -> Performance {
        let mut score = Score::new(self.frames());
        (self.compose)(&mut score);
        score.perform()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(piece: &Piece) -> Vec<i32> {
        let mut samples = Vec::new();
        let heard: Result<(), ()> = piece.play(|block| {
            samples.extend_from_slice(block);
            Ok(())
        });
        heard.unwrap();
        samples
    }

    #[test]
    fn every_piece_sounds_and_is_the_same_each_time() {
        for piece in &PIECES {
            let samples = play(piece);
            assert_eq!(samples.len(), 2 * piece.frames(), "{}", piece.title);
            let most = samples.iter().map(|sample| sample.abs()).max().unwrap();
            assert!((28_000..=32_767).contains(&most), "{}: {most}", piece.title);
            let square: f64 = samples.iter().map(|sample| (f64::from(*sample) / 32_768.0).powi(2)).sum();
            let level = 10.0 * (square / samples.len() as f64).log10();
            assert!((-30.0..-8.0).contains(&level), "{}: {level} dBFS", piece.title);
            // Neither channel is a copy of the other, and nothing stops dead at the end.
            assert!(samples.chunks_exact(2).any(|frame| frame[0] != frame[1]), "{}", piece.title);
            assert!(samples[samples.len() - 200..].iter().all(|sample| sample.abs() < 200), "{}", piece.title);
        }
        assert_eq!(play(&PIECES[1]), play(&PIECES[1]));
    }
}
