//! What the pictures are of: the real sound of the parity tests where it fits, else sound made here.

use std::f64::consts::TAU;
use std::fs::File;
use std::path::Path;

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_audio::resample::Resampler;
use anyhow::{Context, Result};

/// The rate of cuts, in Hz.
const RATE: u32 = 44_100;
/// The rate of made sound, in Hz.
const MADE_RATE: u32 = 22_050;
/// Ten cuts in the public domain (CC0), and what they are called in pictures.
const CUTS: [(&str, &str); 10] = [
    ("ambi_choir", "choir"),
    ("ambi_piano", "piano"),
    ("bass_voxy_c", "bass"),
    ("drum_cymbal_open", "cymbal"),
    ("guit_em9", "guitar"),
    ("loop_amen", "drums"),
    ("loop_garzul", "beat"),
    ("loop_tabla", "tabla"),
    ("misc_crow", "crow"),
    ("perc_bell", "bell"),
];

/// One channel of sound with the names of its parts.
pub struct Sound {
    /// What it is, in one line.
    pub about: &'static str,
    /// Samples per second.
    pub rate: u32,
    pub samples: Vec<f32>,
    /// Where each part begins, in seconds, and what it is called.
    pub parts: Vec<(f64, &'static str)>,
}

impl Sound {
    fn new(about: &'static str, rate: u32) -> Sound {
        Sound { about, rate, samples: Vec::new(), parts: Vec::new() }
    }

    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// Appends a part.
    fn part(&mut self, name: &'static str, samples: impl IntoIterator<Item = f32>) {
        self.parts.push((self.seconds(), name));
        self.samples.extend(samples);
    }

    fn pause(&mut self, seconds: f64) {
        self.samples.resize(self.samples.len() + (seconds * f64::from(self.rate)) as usize, 0.0);
    }
}

/// The ten cuts, one after the other.
pub fn cuts(root: &Path) -> Result<Sound> {
    let mut sound = Sound::new("Ten cuts of recordings (Sonic Pi's samples, CC0), one after the other", RATE);
    for (file, name) in CUTS {
        sound.part(name, cut(root, file)?);
    }
    Ok(sound)
}

/// The cuts with drums.
pub fn loops(root: &Path) -> Result<Sound> {
    let mut sound = Sound::new("Three cuts of recordings with drums (Sonic Pi's samples, CC0)", RATE);
    for (file, name) in CUTS.into_iter().filter(|(file, _)| file.starts_with("loop_")) {
        sound.part(name, cut(root, file)?);
    }
    Ok(sound)
}

/// All cuts three times: as they are, 20 dB below, 10 dB below.
pub fn levels(root: &Path) -> Result<Sound> {
    let once = cuts(root)?.samples;
    let mut sound = Sound::new("Ten cuts of recordings (Sonic Pi's samples, CC0), three times", RATE);
    for (name, gain) in [("as they are", 1.0), ("20 dB below", 0.1), ("10 dB below", 0.316_227_77)] {
        sound.part(name, once.iter().map(|sample| gain * sample));
    }
    Ok(sound)
}

/// Four cuts with pauses, the last one too short to be a silence.
pub fn pauses(root: &Path) -> Result<Sound> {
    let mut sound =
        Sound::new("Four cuts of recordings (Sonic Pi's samples, CC0) with pauses of 1.2, 0.8 and 0.4 s", RATE);
    for ((file, name), pause) in CUTS.into_iter().step_by(3).zip([1.2, 0.8, 0.4, 0.0]) {
        sound.part(name, cut(root, file)?);
        sound.pause(pause);
    }
    Ok(sound)
}

/// One cut at [`RATE`].
fn cut(root: &Path, name: &str) -> Result<Vec<f32>> {
    let path = root.join("crates/features/tests/parity/signals").join(name).with_extension("flac");
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    let mut decoder = Decoder::open(file, Limits::default())?;
    let rate = decoder.info().rate;
    let mut samples = Vec::new();
    while let Some(block) = decoder.next_block()? {
        samples.extend_from_slice(block.channels().first().context("a file has a channel")?);
    }
    if rate == RATE {
        return Ok(samples);
    }
    let mut resampled = Vec::new();
    let mut resampler = Resampler::new(rate, RATE, 0);
    resampler.push(&samples, &mut resampled);
    resampler.finish(&mut resampled);
    Ok(resampled)
}

/// A voice of eight partials: notes, a glide, vibrato; with noise so many dB below it.
pub fn voice(noise_db: f64) -> Sound {
    let about = if noise_db < 20.0 {
        "A made voice (notes, a glide, vibrato, a breath) with as much noise as voice"
    } else {
        "A made voice (notes, a glide, vibrato, a breath) with noise 30 dB below it"
    };
    let mut sound = Sound::new(about, MADE_RATE);
    let mut noise = Noise::new(1);
    let mut phase = 0.0;
    // The mean square of the partials is 0.0477, that of the noise a third of the square of its amplitude.
    let hiss = 0.378 * 10_f64.powf(-noise_db / 20.0);
    let frequency = |part: usize, t: f64| match part {
        0 => 220.0,
        1 => 330.0,
        2 => 220.0 * (t / 1.2).exp2(),
        3 => 330.0 * (0.03 * (TAU * 5.5 * t).sin()).exp2(),
        _ => 0.0,
    };
    for (part, (name, seconds)) in
        [("A3", 0.8), ("E4", 0.8), ("glide", 1.2), ("vibrato", 1.6), ("breath", 0.8)].into_iter().enumerate()
    {
        let samples: Vec<f32> = (0..(seconds * f64::from(MADE_RATE)) as usize)
            .map(|n| {
                let frequency = frequency(part, n as f64 / f64::from(MADE_RATE));
                phase = (phase + frequency / f64::from(MADE_RATE)).fract();
                let partials = (1..=8).map(|number| (TAU * f64::from(number) * phase).sin() / f64::from(number));
                let voiced = if frequency > 0.0 { 0.25 * partials.sum::<f64>() } else { 0.0 };
                (voiced + hiss * noise.next()) as f32
            })
            .collect();
        sound.part(name, samples);
    }
    sound
}

/// A bass drum on every beat, a snare on every second, a hat in eighths: bars at each tempo in beats a minute.
pub fn drums(tempi: &[(&'static str, f64, usize)]) -> Sound {
    let mut sound = Sound::new("Made drums: bass drum on every beat, snare on every second, hat in eighths", MADE_RATE);
    let mut noise = Noise::new(2);
    for (name, tempo, bars) in tempi {
        let eighth = (30.0 / tempo * f64::from(MADE_RATE)) as usize;
        let mut samples = Vec::with_capacity(8 * bars * eighth);
        for step in 0..8 * bars {
            for n in 0..eighth {
                let t = n as f64 / f64::from(MADE_RATE);
                let kick = if step % 2 == 0 { 0.7 * (TAU * 60.0 * t).sin() * (-t / 0.08).exp() } else { 0.0 };
                let snare = if step % 4 == 2 { 0.35 * (-t / 0.05).exp() } else { 0.0 };
                let stick = if step % 2 == 0 { 0.2 * (-t / 0.01).exp() } else { 0.0 };
                let hat = 0.02 * (-t / 0.015).exp();
                // A room that is never silent, as in a recording: else the softest stroke would rise by as many dB as the loudest.
                let room = 0.003;
                samples.push((kick + (snare + stick + hat + room) * noise.next()) as f32);
            }
        }
        sound.part(name, samples);
    }
    sound
}

/// D, A, B minor, A7, D, two seconds each, plucked, so many cents above 440 Hz.
pub fn cadence(cents: f64) -> Sound {
    let about = if cents == 0.0 { "Made chords in D major" } else { "Made chords in D major, 20 cents too high" };
    let mut sound = Sound::new(about, MADE_RATE);
    let chords: [(&str, [i32; 4]); 5] = [
        ("D", [38, 62, 66, 69]),
        ("A", [45, 61, 64, 69]),
        ("B minor", [47, 62, 66, 71]),
        ("A7", [45, 61, 64, 67]),
        ("D", [38, 62, 66, 69]),
    ];
    for (name, notes) in chords {
        let samples = (0..2 * MADE_RATE).map(|n| {
            let t = f64::from(n) / f64::from(MADE_RATE);
            let note = |number: &i32| {
                let frequency = 440.0 * (f64::from(number - 69) / 12.0 + cents / 1_200.0).exp2();
                let partial = |k: i32| (TAU * f64::from(k) * frequency * t).sin() / f64::from(k * k);
                (1..=5).map(partial).sum::<f64>() * (-t / 0.9).exp()
            };
            (0.15 * notes.iter().map(note).sum::<f64>()) as f32
        });
        sound.part(name, samples.collect::<Vec<_>>());
    }
    sound
}

/// Forty seconds outdoors: wind, then birds in it, then an engine instead.
pub fn landscape() -> Sound {
    let mut sound = Sound::new(
        "Made: wind (noise, falling with frequency), with birds (chirps at 3 to 6 kHz), with an engine (hum)",
        MADE_RATE,
    );
    let mut noise = Noise::new(3);
    let mut low = 0.0;
    for (part, (name, seconds)) in
        [("wind", 10), ("wind and birds", 15), ("wind and engine", 15)].into_iter().enumerate()
    {
        let samples: Vec<f32> = (0..seconds * MADE_RATE)
            .map(|n| {
                let t = f64::from(n) / f64::from(MADE_RATE);
                // One pole at 200 Hz, and a little of the noise itself.
                let white = noise.next();
                low += 0.055 * (white - low);
                let wind = (0.25 * low + 0.004 * white) * (1.0 + 0.5 * (TAU * 0.17 * t).sin());
                let other = match part {
                    1 => chirp(t),
                    2 => (1..=12).map(|k| (TAU * 95.0 * f64::from(k) * t).sin() / f64::from(k)).sum::<f64>() * 0.08,
                    _ => 0.0,
                };
                (wind + other) as f32
            })
            .collect();
        sound.part(name, samples);
    }
    sound
}

/// Calls of 0.15 s, some two a second at irregular places, sweeping down.
fn chirp(t: f64) -> f64 {
    let places = [0.1, 0.45, 1.3, 1.55, 1.8, 2.9, 3.3, 4.4];
    let in_call = places.iter().map(|place| t % 5.0 - place).find(|since| (0.0..0.15).contains(since));
    in_call.map_or(0.0, |since| {
        let swell = (std::f64::consts::PI * since / 0.15).sin();
        0.2 * swell * (TAU * (6_000.0 * since - 10_000.0 * since * since)).sin()
    })
}

/// Knuth's linear congruential generator, as -1 to 1.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Noise {
        Noise(seed)
    }

    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / 8_388_608.0 - 1.0
    }
}
