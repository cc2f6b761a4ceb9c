//! The signals of all parity tests: `signals.py` makes the same ones. Twenty synthetic ones at 22,050 samples a second, ten
//! cuts of real sound, six synthetic ones at other rates.

use std::f64::consts::TAU;

use antiphon_audio::decode::{Decoder, Limits};

/// The rate and hop of the frames that are compared.
const COMMON_RATE: u64 = 22_050;
const HOP: u64 = 512;

/// A signal of one channel.
pub(crate) struct Signal {
    /// What to call it when it fails.
    pub(crate) name: String,
    /// Samples per second.
    pub(crate) rate: u32,
    /// The samples, the same f32 as in the script.
    pub(crate) samples: Vec<f32>,
}

impl Signal {
    /// Frames that a song of it has, at 22,050 samples a second and a hop of 512.
    pub(crate) fn frames(&self) -> usize {
        let resampled = (self.samples.len() as u64 * COMMON_RATE).div_ceil(u64::from(self.rate));
        (1 + resampled / HOP) as usize
    }
}

/// All signals, in the order of the golden files.
pub(crate) fn all() -> Vec<Signal> {
    let mut signals: Vec<Signal> = (0..20)
        .map(|number| synthetic(number, 22_050, if number == 19 { 100 } else { 6_000 + 371 * number }))
        .collect();
    signals.extend(real());
    signals.extend(
        [
            (3, 8_000, 4_000),
            (11, 48_000, 24_000),
            (8, 96_000, 40_000),
            (18, 32_000, 16_000),
            (9, 16_000, 8_000),
            (12, 44_100, 22_000),
        ]
        .map(|(number, rate, length)| synthetic(number, rate, length)),
    );
    signals
}

/// Signals of 10 s and more: the real ones of each rate end to end three times, and synthetic ones.
pub(crate) fn long() -> Vec<Signal> {
    let mut signals: Vec<Signal> = [22_050, 44_100]
        .into_iter()
        .map(|rate| {
            let parts = real().into_iter().filter(|signal| signal.rate == rate);
            let samples = parts.flat_map(|signal| signal.samples).collect::<Vec<f32>>().repeat(3);
            Signal { name: format!("real sound at {rate}"), rate, samples }
        })
        .collect();
    let synthetic = |(number, rate)| synthetic(number, rate, 12 * rate as usize);
    signals.extend([(11, 22_050), (18, 22_050), (17, 22_050), (3, 16_000)].map(synthetic));
    signals
}

/// Each cut of real sound sixteen times, 10 s and more, at a level that rises and falls.
pub(crate) fn repeated() -> Vec<Signal> {
    let level = |part: i32| 0.5_f32.powi((part - 10).abs());
    let repeat = |signal: Signal| {
        let samples = (0..16).flat_map(|part| signal.samples.iter().map(move |sample| level(part) * sample)).collect();
        Signal { name: format!("{} repeated", signal.name), rate: signal.rate, samples }
    };
    real().into_iter().map(repeat).collect()
}

fn real() -> Vec<Signal> {
    let files: [(&str, &[u8]); 10] = [
        ("ambi_choir", include_bytes!("signals/ambi_choir.flac")),
        ("ambi_piano", include_bytes!("signals/ambi_piano.flac")),
        ("bass_voxy_c", include_bytes!("signals/bass_voxy_c.flac")),
        ("drum_cymbal_open", include_bytes!("signals/drum_cymbal_open.flac")),
        ("guit_em9", include_bytes!("signals/guit_em9.flac")),
        ("loop_amen", include_bytes!("signals/loop_amen.flac")),
        ("loop_garzul", include_bytes!("signals/loop_garzul.flac")),
        ("loop_tabla", include_bytes!("signals/loop_tabla.flac")),
        ("misc_crow", include_bytes!("signals/misc_crow.flac")),
        ("perc_bell", include_bytes!("signals/perc_bell.flac")),
    ];
    files.map(|(name, bytes)| decode(name, bytes)).into()
}

fn decode(name: &str, bytes: &'static [u8]) -> Signal {
    let mut decoder = Decoder::from_bytes(bytes.into(), Limits::default()).unwrap();
    let mut samples = Vec::new();
    while let Some(block) = decoder.next_block().unwrap() {
        samples.extend_from_slice(block.channels()[0]);
    }
    Signal { name: name.to_owned(), rate: decoder.info().rate, samples }
}

/// Knuth's linear congruential generator; the upper 24 bits are exact in f32.
pub(crate) fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / 8_388_608.0 - 1.0
    };
    (0..n).map(next).collect()
}

fn synthetic(number: usize, rate: u32, n: usize) -> Signal {
    let sine = |frequency: f64, k: usize| (TAU * frequency * k as f64 / f64::from(rate)).sin();
    let by_sample = |value: &dyn Fn(usize) -> f64| (0..n).map(value).collect::<Vec<f64>>();
    let scaled = |scale: f64, values: Vec<f64>| values.into_iter().map(|value| scale * value).collect::<Vec<f64>>();
    let samples = match number {
        0 => vec![0.0; n],
        1 => by_sample(&|k| f64::from(u8::from(k == 3_000))),
        2 => scaled(0.5, noise(1, n)),
        3 => scaled(1e-3, noise(2, n)),
        4 => scaled(1e-5, noise(3, n)),
        5 => by_sample(&|k| 0.5 * sine(440.0, k)),
        6 => by_sample(&|k| sine(10_000.0, k)),
        7 => by_sample(&|k| 0.9 * sine(30.0, k)),
        8 => by_sample(&|k| {
            let t = k as f64 / f64::from(rate);
            0.7 * (TAU * (100.0 * t + 10_000.0 * t * t)).sin()
        }),
        9 => by_sample(&|k| 0.2 * (sine(261.6, k) + sine(329.6, k) + sine(392.0, k) + sine(1_046.5, k))),
        10 => by_sample(&|k| if k / 50 % 2 == 0 { 0.4 } else { -0.4 }),
        11 => noise(4, n).into_iter().enumerate().map(|(k, value)| (0.5 + 0.5 * sine(4.0, k)) * value).collect(),
        12 => noise(5, n).into_iter().enumerate().map(|(k, value)| if k < 2_500 { value } else { 0.0 }).collect(),
        13 => by_sample(&|k| if k < 4_000 { 0.0 } else { 0.8 * sine(1_234.5, k) }),
        14 => vec![0.25; n],
        15 => by_sample(&|k| if k % 2 == 0 { 0.3 } else { -0.3 }),
        16 => by_sample(&|k| sine(800.0, k) * 0.5_f64.powf(k as f64 / 500.0)),
        17 => by_sample(&|k| (3.0 * sine(200.0, k)).clamp(-1.0, 1.0)),
        18 => noise(6, n).into_iter().enumerate().map(|(k, value)| 0.3 * sine(3_000.0, k) + 0.01 * value).collect(),
        19 => scaled(0.5, noise(7, n)),
        _ => panic!("there are twenty synthetic signals"),
    };
    let samples = samples.into_iter().map(|sample| sample as f32).collect();
    Signal { name: format!("synthetic {number} at {rate}"), rate, samples }
}
