//! The onset strength of a whole song as librosa has it, with a floor at 80 dB below the loudest.

use super::strength::CENTRE_TO_END;
use crate::mel::{BANDS, Song};

/// For each frame of a song, what `sum_up` makes of the rises of all bands since the frame before, two frames earlier: the frames
/// are centred, and a rise is told at the end of the one that has it. Rises are in dB, what lies more than 80 dB below the loudest
/// band of the whole song counts as that, falls count as 0. The first three are 0. `None` if the song is too long.
pub(crate) fn strengths(song: &Song, mut sum_up: impl FnMut(&mut [f32; BANDS]) -> f32) -> Option<Vec<f32>> {
    let frames = song.frames()?;
    let floor = song.floor();
    let mut found = vec![0.0; frames.len().min(CENTRE_TO_END + 1)];
    let pairs = frames.clone().zip(frames.skip(1));
    let wanted = song.frames()?.len().saturating_sub(CENTRE_TO_END + 1);
    found.extend(pairs.take(wanted).map(|(before, now)| {
        let mut rises = [0.0; BANDS];
        for (rise, (now, before)) in rises.iter_mut().zip(now.iter().zip(before)) {
            *rise = (now.max(floor) - before.max(floor)).max(0.0);
        }
        sum_up(&mut rises)
    }));
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths_are_late_and_nothing_rises_below_the_floor() {
        let song = |levels: &[f32]| {
            let mut song = Song::new();
            levels.iter().for_each(|level| song.push(&[*level; BANDS]));
            song
        };
        let mean = |rises: &mut [f32; BANDS]| rises.iter().sum::<f32>() / BANDS as f32;
        let of = |levels: &[f32]| strengths(&song(levels), mean).expect("it is short");
        for frames in 0..4 {
            assert_eq!(of(&vec![-10.0; frames]), vec![0.0; frames]);
        }
        assert_eq!(
            of(&[-20.0, -10.0, -15.0, -9.0, -100.0, -89.0, -80.0, 0.0]),
            [0.0, 0.0, 0.0, 10.0, 0.0, 6.0, 0.0, 0.0]
        );
        assert_eq!(of(&[0.0, -100.0, -70.0, 0.0, 0.0, 0.0]), [0.0, 0.0, 0.0, 0.0, 10.0, 70.0]);
    }
}
