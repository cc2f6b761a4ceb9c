//! A few original pieces of music, composed as tables and played by arithmetic.

mod compositions;
mod instruments;
mod voice;

use instruments::Mix;

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
    play: fn(&mut Mix),
}

/// All pieces: one album.
pub const PIECES: [Piece; 5] = [
    piece(1, "Paper Lanterns", "The Arithmeticians", 54.0, compositions::paper_lanterns),
    piece(2, "Switchyard", "The Arithmeticians", 50.0, compositions::switchyard),
    piece(3, "Low Water", "The Arithmeticians", 56.0, compositions::low_water),
    piece(4, "Call and Answer", "The Formants", 48.0, compositions::call_and_answer),
    piece(5, "Forecast for Nowhere", "The Formants", 40.0, compositions::forecast),
];

const fn piece(track: u32, title: &'static str, artist: &'static str, seconds: f32, play: fn(&mut Mix)) -> Piece {
    Piece { title, artist, album: "First Light", track, seconds, play }
}

impl Piece {
    /// The whole piece: interleaved 16 bit integers of two channels at [`MUSIC_RATE`], the loudest at -1 dB of full scale.
    #[must_use]
    pub fn render(&self) -> Vec<i32> {
        let mut mix = Mix::new(self.seconds);
        (self.play)(&mut mix);
        mix.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_sounds_and_is_the_same_each_time() {
        for piece in &PIECES {
            let samples = piece.render();
            assert_eq!(samples.len(), (piece.seconds * MUSIC_RATE as f32) as usize * 2, "{}", piece.title);
            let most = samples.iter().map(|sample| sample.abs()).max().unwrap();
            assert!((28_000..=32_767).contains(&most), "{}: {most}", piece.title);
            let square: f64 = samples.iter().map(|sample| (f64::from(*sample) / 32_768.0).powi(2)).sum();
            let level = 10.0 * (square / samples.len() as f64).log10();
            assert!((-30.0..-8.0).contains(&level), "{}: {level} dBFS", piece.title);
            // Neither channel is a copy of the other, and nothing stops dead at the end.
            assert!(samples.chunks_exact(2).any(|frame| frame[0] != frame[1]), "{}", piece.title);
            assert!(samples[samples.len() - 200..].iter().all(|sample| sample.abs() < 200), "{}", piece.title);
        }
        assert_eq!(PIECES[1].render(), PIECES[1].render());
    }
}
