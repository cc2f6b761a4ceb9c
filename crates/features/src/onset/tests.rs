use super::*;
use crate::cells::{FRAMES, decode_frames};
use crate::session::{Analysis, Item};
use crate::testing::{item, noise, run, sensor, sine, song};

const RATE: u32 = 22_050;

fn analyse(stream: &Stream, samples: &[f32]) -> Analysis {
    run(&[Item { frames: true, ..item("onset") }], stream, &[samples])
}

fn strengths(analysis: &Analysis) -> Vec<f32> {
    let blocks = analysis.blocks.iter().filter(|block| block.layer == FRAMES);
    let frames = blocks.flat_map(|block| decode_frames(&DESCRIPTOR, block.minute, &block.data).expect("own frames"));
    frames.map(|frame| frame.values[0]).collect()
}

fn starts(analysis: &Analysis) -> Vec<i64> {
    analysis.annotations.iter().map(|onset| onset.from / 1_000).collect()
}

/// Plucked tones every 400 ms over a little noise.
fn plucked(rate: u32, seconds: f64) -> Vec<f32> {
    let mut samples: Vec<f32> =
        noise(3, (seconds * f64::from(rate)) as usize).iter().map(|sample| sample * 1e-3).collect();
    let gap = rate as usize * 2 / 5;
    for (number, tone) in samples.chunks_mut(gap).enumerate() {
        let frequency = [330.0, 440.0, 550.0][number % 3];
        for (n, (sample, pure)) in tone.iter_mut().zip(sine(rate, frequency, 0.5, 0.4)).enumerate() {
            *sample += pure * (-8.0 * n as f32 / rate as f32).exp();
        }
    }
    samples
}

#[test]
fn plucked_tones_are_found_where_they_begin_at_every_rate() {
    for rate in [8_000, 22_050, 44_100, 192_000] {
        let samples = plucked(rate, 10.0);
        for stream in [song(rate, 1), sensor(rate, 1, 0)] {
            let found = starts(&analyse(&stream, &samples));
            for expected in (1..24).map(|number| 400 * number) {
                // A sensor tells it later, as it never looks ahead.
                let late = if stream.song { 0 } else { 40 };
                let near = found.iter().filter(|start| (**start - late - expected).abs() <= 50).count();
                assert_eq!(near, 1, "{expected} ms at {rate}, song: {}: {found:?}", stream.song);
            }
            assert!(found.len() <= 26, "at {rate}, song: {}: {found:?}", stream.song);
        }
    }
}

#[test]
fn nothing_begins_in_silence_and_steady_signals() {
    // A period that divides the hop: of others the bands between harmonics flicker.
    let square: Vec<f32> = (0..RATE as usize * 2).map(|n| if n / 32 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    for samples in [vec![0.0; 30_000], vec![0.5; 30_000], square] {
        let steady = &samples[..samples.len() - 1_100];
        // The end of a song is an edge, and so is its beginning.
        let inside = |start: &i64| (150..1_200).contains(start);
        assert_eq!(starts(&analyse(&song(RATE, 1), steady)).into_iter().filter(|start| inside(start)).count(), 0);
        assert_eq!(starts(&analyse(&sensor(RATE, 1, 77), steady)), [] as [i64; 0]);
    }
    assert_eq!(analyse(&song(RATE, 1), &[]).annotations, []);
    assert!(strengths(&analyse(&song(RATE, 1), &[0.0; 30_000])).iter().all(|value| *value == 0.0));
}

#[test]
fn one_impulse_is_one_onset_and_a_short_signal_has_none() {
    let mut samples = vec![0.0; 40_000];
    samples[20_000] = 1.0;
    for stream in [song(RATE, 1), sensor(RATE, 1, 0)] {
        let found = starts(&analyse(&stream, &samples));
        let expected = if stream.song { 907 } else { 963 };
        assert!(found.len() == 1 && (found[0] - expected).abs() <= 50, "{found:?}");
    }
    assert_eq!(strengths(&analyse(&song(RATE, 1), &[0.3])), [0.0]);
    assert_eq!(analyse(&song(RATE, 1), &[0.3]).annotations, []);
    assert_eq!(analyse(&sensor(RATE, 1, 0), &[0.3]), Analysis::default());
    assert_eq!(analyse(&sensor(RATE, 1, 0), &noise(1, 220)), Analysis::default());
}

/// The second part of a recording, with a lead-in, has the strengths and onsets of the whole.
#[test]
fn parts_with_lead_in_say_what_the_whole_says() {
    let samples = plucked(44_100, 12.0);
    let first = 1_777_593_600 * 44_100;
    let whole = analyse(&sensor(44_100, 1, first), &samples);
    for (cut, lead_in) in [(200_000, 66_150), (250_111, 88_200), (317_520, 132_300)] {
        let stream =
            Stream { first_sample: first + cut - lead_in, first_body_sample: first + cut, ..sensor(44_100, 1, first) };
        let before = analyse(&sensor(44_100, 1, first), &samples[..cut as usize]);
        let after = analyse(&stream, &samples[(cut - lead_in) as usize..]);
        let joined: Vec<f32> = [strengths(&before), strengths(&after)].concat();
        assert_eq!(joined, strengths(&whole));
        assert_eq!([starts(&before), starts(&after)].concat(), starts(&whole));
    }
}

#[test]
fn the_threshold_is_a_parameter() {
    let samples = plucked(RATE, 5.0);
    let with = |threshold: f64| {
        let parameters = serde_json::Map::from_iter([(THRESHOLD.to_owned(), threshold.into())]);
        run(&[Item { parameters, ..item("onset") }], &sensor(RATE, 1, 0), &[&samples]).annotations.len()
    };
    assert!(with(0.5) >= with(3.0) && with(3.0) > with(60.0), "{} {} {}", with(0.5), with(3.0), with(60.0));
    assert_eq!(with(60.0), 0);
}
