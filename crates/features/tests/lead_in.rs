//! A signal analysed in pieces, each with a lead-in, and as a whole: `mel`, its preview, and `silence`.

#![expect(clippy::unwrap_used, reason = "a test helper that panics says what failed")]

use std::collections::BTreeMap;

use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{FRAMES, Values, decode_block, decode_frames, layer};
use antiphon_features::find;
use antiphon_features::session::{Analysis, Annotation, Item, Session};

/// 2026-05-01T00:00:00Z.
const START: i64 = 1_777_593_600;
const SECONDS: i64 = 20;

struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Noise and tones that come and go: loud, below the threshold of silence, and digital silence.
fn signal(rate: i64) -> Vec<f32> {
    let mut generator = Generator(1);
    let (mut amplitude, mut left) = (0.5, 0);
    (0..SECONDS * rate)
        .map(|n| {
            if left == 0 {
                amplitude = [0.5, 0.0, 3e-4, 0.1, 2e-4][generator.next() as usize % 5];
                left = rate / 5 + generator.next() as i64 % (2 * rate);
            }
            left -= 1;
            let noise = generator.next() as f64 / f64::from(1 << 30) - 1.0;
            let tone = (std::f64::consts::TAU * 997.0 * n as f64 / rate as f64).sin();
            (amplitude * (0.5 * noise + 0.5 * tone)) as f32
        })
        .collect()
}

fn analyse(rate: i64, samples: &[f32], from: i64, lead_in: i64, to: i64) -> Analysis {
    let stream = Stream {
        rate: rate as u32,
        channels: 1,
        first_sample: START * rate + from - lead_in,
        first_body_sample: START * rate + from,
        song: false,
        calibration_db: None,
    };
    let item = |algorithm: &str, outputs: &[&str]| Item {
        algorithm: algorithm.into(),
        outputs: outputs.iter().map(|name| (*name).into()).collect(),
        frames: algorithm == "mel",
        ..Item::default()
    };
    let mut session = Session::new(&[item("mel", &["", "preview"]), item("silence", &[])], &stream).unwrap();
    samples[(from - lead_in) as usize..to as usize].chunks(4_001).for_each(|chunk| session.push(&[chunk]));
    session.finish()
}

#[derive(Default)]
struct Found {
    frames: BTreeMap<i64, Vec<f32>>,
    rows: BTreeMap<i64, [u8; 64]>,
    silences: Vec<Annotation>,
}

impl Found {
    fn add(&mut self, analysis: Analysis) {
        for block in analysis.blocks.iter().filter(|block| block.algorithm == "mel") {
            if block.layer == FRAMES {
                for frame in decode_frames(find("mel").unwrap(), block.minute, &block.data).unwrap() {
                    let values: Vec<f32> = frame.values;
                    assert!(self.frames.insert(frame.start, values).is_none(), "a frame belongs to one piece");
                }
            } else if block.layer == "preview" {
                let preview = layer("mel", "preview").unwrap();
                for partial in decode_block(preview, block.minute, &block.data).unwrap() {
                    let Values::Preview(rows) = partial.values else { panic!("the preview holds rows") };
                    for (tenth, row) in rows.iter().enumerate().filter_map(|(tenth, row)| Some((tenth, (*row)?))) {
                        let place = partial.second * 10 + tenth as i64;
                        assert!(self.rows.insert(place, row).is_none(), "a row belongs to one piece");
                    }
                }
            }
        }
        self.silences.extend(analysis.annotations);
    }

    /// As a reader does: joins what is no more than 20 ms apart, then drops what is shorter than half a second.
    fn joined(&self) -> Vec<(i64, i64, f64)> {
        let mut joined: Vec<(i64, i64, f64)> = Vec::new();
        for silence in &self.silences {
            let (length, value) = ((silence.to - silence.from) as f64, f64::from(silence.value.unwrap()));
            match joined.last_mut() {
                Some((from, to, mean)) if silence.from - *to <= 20_000 => {
                    let before = (*to - *from) as f64;
                    *mean = (*mean * before + value * length) / (before + length);
                    *to = silence.to;
                }
                _ => joined.push((silence.from, silence.to, value)),
            }
        }
        joined.retain(|(from, to, _)| to - from >= 500_000);
        joined
    }
}

#[test]
fn pieces_with_lead_in_agree_with_the_whole() {
    for rate in [48_000_i64, 22_050, 16_000] {
        let samples = signal(rate);
        let end = samples.len() as i64;
        let mut whole = Found::default();
        whole.add(analyse(rate, &samples, 0, 0, end));
        assert!(whole.joined().len() >= 2 && whole.frames.len() > 800 && whole.rows.len() > 190);
        let mut generator = Generator(7);
        for _ in 0..3 {
            let mut pieces = Found::default();
            let mut from = 0;
            while from < end {
                let to = end.min(from + rate / 4 + generator.next() as i64 % (3 * rate));
                pieces.add(analyse(rate, &samples, from, from.min(5 * rate), to));
                from = to;
            }
            assert!(whole.frames.keys().eq(pieces.frames.keys()));
            for (start, expected) in &whole.frames {
                for (a, b) in pieces.frames[start].iter().zip(expected) {
                    assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{rate} {start}: {a} is not {b}");
                }
            }
            assert_eq!(whole.rows, pieces.rows);
            let (expected, found) = (whole.joined(), pieces.joined());
            assert_eq!(expected.len(), found.len(), "{rate}: {expected:?} {found:?}");
            for (a, b) in found.iter().zip(&expected) {
                assert!((a.0 - b.0).abs() <= 25_000 && (a.1 - b.1).abs() <= 25_000, "{rate}: {a:?} is not {b:?}");
                assert!((a.2 - b.2).abs() <= 1e-3 * b.2.abs(), "{rate}: {a:?} is not {b:?}");
            }
        }
    }
}
