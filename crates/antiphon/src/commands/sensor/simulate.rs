//! `antiphon sensor simulate`: plays files or noise as a sensor would send them.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use antiphon_analysis::pieces::{Cut, Cutter, Piece, Timeline, duration};
use antiphon_audio::encode::PcmFormat;
use antiphon_platform::clock::{Clock, Micros, SECOND, micros};
use antiphon_platform::http::time;
use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::input::{Input, PcmOptions};
use super::sender::{Attempt, Sender};
use crate::cli::Globals;
use crate::commands::output::{counted, print_json, print_line};
use crate::commands::server::ServerOptions;

/// Noise is mono, at this rate.
const NOISE: PcmFormat = PcmFormat { rate: 48_000, channels: 1, bits: 16, float: false };
/// Frames of noise made at a time.
const NOISE_BLOCK: usize = 4_800;

/// Options of `antiphon sensor simulate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without files it sends pink noise. Without --start the audio begins now; played faster than real time, it ends \
                  now instead.\n\nExamples:\n  antiphon sensor simulate roof music.flac\n  antiphon sensor simulate roof --duration 60\n  \
                  antiphon sensor simulate roof *.wav --speed max --start 2026-05-01T00:00:00Z"
)]
pub struct Arguments {
    /// The sensor's id.
    id: String,
    /// Files to play one after the other, as if they were one.
    files: Vec<PathBuf>,
    /// How much faster than real time; `max` for as fast as the server takes it.
    #[arg(long, value_name = "FACTOR|max", default_value = "1")]
    speed: Speed,
    /// When the first sample was heard (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = super::time)]
    start: Option<Micros>,
    /// How much to send, in seconds; files are repeated. Default: the files once, noise for ever.
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    duration: Option<Micros>,
    /// Length of a piece in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = super::piece_seconds)]
    piece: Micros,
    /// Audio repeated in front of each piece in seconds, 0 to 5.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = super::lead_in_seconds)]
    lead_in: Micros,
    #[command(flatten)]
    server: ServerOptions,
}

/// How much faster than real time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Times(f64),
    Max,
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(factor) if (0.01..=10_000.0).contains(&factor) => Ok(Self::Times(factor)),
            _ => Err(String::from("a number from 0.01 to 10000, or max")),
        }
    }
}

/// What was sent.
#[derive(Default)]
struct Sent {
    pieces: usize,
    duration: Micros,
}

/// Sends pieces, each when it would have been heard.
struct Player<'a> {
    sender: Sender,
    clock: Clock,
    arguments: &'a Arguments,
    /// When playing began, and the time of the first sample.
    begun: Micros,
    start: Micros,
    sent: Sent,
    bar: ProgressBar,
}

/// Runs `antiphon sensor simulate`.
pub fn run(arguments: &Arguments, globals: &Globals) -> Result<ExitCode> {
    let clock = Clock::system();
    let mut sender = Sender::new(&arguments.id, &arguments.server, globals, clock.clone());
    if let Some(unreachable) = sender.check()? {
        bail!(unreachable);
    }
    let length = length(arguments)?;
    let now = clock.now();
    let start = match (arguments.start, arguments.speed) {
        (Some(start), _) => start,
        (None, Speed::Times(factor)) if factor <= 1.0 => now,
        (None, _) => match length {
            Some(length) => now - length,
            None => bail!("--speed {:?} without an end: say --duration or --start", arguments.speed),
        },
    };
    let bar = bar(length);
    let mut player = Player { sender, clock, arguments, begun: now, start, sent: Sent::default(), bar };
    player.play()?;
    player.bar.finish_and_clear();
    let Sent { pieces, duration } = player.sent;
    let seconds = duration as f64 / 1e6;
    if globals.json {
        let end = time::format(start + duration);
        let id = &arguments.id;
        print_json(&json!({"sensor": id, "sent": pieces, "seconds": seconds, "from": time::format(start), "to": end}))?;
    } else {
        print_line(&format!("{} sent, {seconds} s of audio from {}", counted(pieces, "piece"), time::format(start)))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Player<'_> {
    fn play(&mut self) -> Result<()> {
        let mut at = self.start;
        let end = self.arguments.duration.map(|duration| self.start + duration);
        let mut cutter: Option<Cutter> = None;
        loop {
            let round_began_at = at;
            if self.arguments.files.is_empty() {
                let mut noise = PinkNoise::new();
                return self
                    .play_samples(&mut cutter, at, end, NOISE, |samples| {
                        samples.extend((0..NOISE_BLOCK).map(|_| noise.next()));
                        Ok(true)
                    })
                    .and_then(|_| self.finish(cutter));
            }
            for path in &self.arguments.files {
                let mut input = open(path)?;
                let format = *input.format();
                at = self
                    .play_samples(&mut cutter, at, end, format, |samples| input.next(samples))
                    .with_context(|| path.display().to_string())?;
            }
            let again = end.is_some_and(|end| at < end) && at > round_began_at;
            if !again {
                return self.finish(cutter);
            }
        }
    }

    /// Plays one stream from `at` on, going on in the same cutter if the format is the same; where it ended.
    fn play_samples(
        &mut self,
        cutter: &mut Option<Cutter>,
        at: Micros,
        end: Option<Micros>,
        format: PcmFormat,
        mut next: impl FnMut(&mut Vec<i32>) -> Result<bool>,
    ) -> Result<Micros> {
        if cutter.as_ref().is_some_and(|cutter| *cutter.format() != format) {
            self.finish(cutter.take())?;
        }
        let cut = Cut { piece: self.arguments.piece, lead_in: self.arguments.lead_in };
        let cutter = cutter.get_or_insert_with(|| Cutter::new(cut, format, Timeline::counted(format.rate, at)));
        let mut samples = Vec::new();
        while next(&mut samples)? {
            let frames = cutter.timeline().frames();
            let left = end.map(|end| cutter.timeline().frame_at(end).saturating_sub(frames));
            if let Some(left) = left.and_then(|left| usize::try_from(left).ok()) {
                samples.truncate(left.saturating_mul(usize::from(format.channels)));
            }
            for piece in cutter.push(&samples, 0)? {
                self.send(&piece)?;
            }
            let ended = left.is_some_and(|left| left <= cutter.timeline().frames() - frames);
            samples.clear();
            if ended {
                break;
            }
        }
        let timeline = cutter.timeline();
        Ok(timeline.time_of(timeline.frames()))
    }

    fn finish(&mut self, cutter: Option<Cutter>) -> Result<()> {
        let Some(mut cutter) = cutter else { return Ok(()) };
        cutter.finish()?.map_or(Ok(()), |piece| self.send(&piece))
    }

    /// Sends a piece when its last sample was heard, and again until the server has it.
    fn send(&mut self, piece: &Piece) -> Result<()> {
        if let Speed::Times(factor) = self.arguments.speed {
            let heard = (piece.start + piece.duration - self.start) as f64 / factor;
            self.wait_until(self.begun + heard as Micros);
        }
        loop {
            match self.sender.send(piece.start, piece.lead_in, &piece.audio) {
                Attempt::Accepted(_) => break,
                Attempt::Refused(reason) => bail!(reason),
                Attempt::Later(reason, wait) => {
                    self.bar.suspend(|| eprintln!("{reason}; trying again in {:.0} s", wait.as_secs_f64().ceil()));
                    self.wait_until(self.clock.now() + micros(wait));
                }
            }
        }
        self.sent.pieces += 1;
        self.sent.duration = piece.start + piece.duration - self.start;
        self.bar.set_position(u64::try_from(self.sent.duration / SECOND).unwrap_or(0));
        Ok(())
    }

    fn wait_until(&self, end: Micros) {
        loop {
            let left = end - self.clock.now();
            let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else { return };
            std::thread::park_timeout(Duration::from_micros(left));
        }
    }
}

/// How long it will all be, if that is known: `--duration`, or what the files' headers say.
fn length(arguments: &Arguments) -> Result<Option<Micros>> {
    if arguments.duration.is_some() || arguments.files.is_empty() {
        return Ok(arguments.duration);
    }
    let mut whole = Some(0);
    for path in &arguments.files {
        let input = open(path)?;
        let known = input.frames().map(|frames| duration(frames, input.format().rate));
        whole = whole.zip(known).map(|(whole, known)| whole + known);
    }
    Ok(whole)
}

fn open(path: &PathBuf) -> Result<Input> {
    let file = File::open(path).map_err(|error| anyhow!("{} cannot be read: {error}", path.display()))?;
    Input::open(BufReader::new(file), &PcmOptions::none()).with_context(|| path.display().to_string())
}

fn bar(length: Option<Micros>) -> ProgressBar {
    let (bar, template) = match length.and_then(|length| u64::try_from(length / SECOND).ok()) {
        Some(length) => (ProgressBar::new(length), "[{bar:30}] {pos} of {len} s of audio, {per_sec}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} s of audio"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.progress_chars("=> "))
}

/// Pink noise: white noise through the filter of Paul Kellet ("Filter to make pink noise from white", 1999, refined
/// form), within 0.05 dB of -3 dB an octave above 9.2 Hz at 44.1 kHz. The same numbers each time.
struct PinkNoise {
    seed: u64,
    rows: [f64; 7],
}

impl PinkNoise {
    fn new() -> Self {
        Self { seed: 0x9e37_79b9_7f4a_7c15, rows: [0.0; 7] }
    }

    /// Uniform in [-1, 1): xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016).
    fn white(&mut self) -> f64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        let bits = self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        bits as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn next(&mut self) -> i32 {
        const POLES: [(f64, f64); 6] = [
            (0.998_86, 0.055_517_9),
            (0.993_32, 0.075_075_9),
            (0.969_00, 0.153_852_0),
            (0.866_50, 0.310_485_6),
            (0.550_00, 0.532_952_2),
            (-0.761_6, -0.016_898_0),
        ];
        let white = self.white();
        for (row, (pole, gain)) in self.rows.iter_mut().zip(POLES) {
            *row = *row * pole + white * gain;
        }
        let pink: f64 = self.rows.iter().sum::<f64>() + white * 0.536_2;
        self.rows[6] = white * 0.115_926;
        // The sum stays below 8 in practice; its mean level comes to about -30 dBFS.
        (pink * 2_048.0).clamp(-32_768.0, 32_767.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_numbers_or_max() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5".parse(), Ok(Speed::Times(2.5)));
        for bad in ["", "0", "-1", "fast", "NaN", "inf"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }

    #[test]
    fn noise_is_pink_enough_and_always_the_same() {
        let mut noise = PinkNoise::new();
        let samples: Vec<i32> = (0..480_000).map(|_| noise.next()).collect();
        let level = |step: &dyn Fn(usize) -> f64| {
            let sum: f64 = (1..samples.len()).map(|index| step(index).powi(2)).sum();
            10.0 * (sum / (samples.len() as f64 * 32_768.0_f64.powi(2))).log10()
        };
        let whole = level(&|index| f64::from(samples[index]));
        let high = level(&|index| f64::from(samples[index] - samples[index - 1]));
        assert!((-40.0..-15.0).contains(&whole), "{whole} dBFS");
        // White noise would gain 3 dB by differencing; pink noise loses.
        assert!(high < whole - 3.0, "{high} against {whole} dBFS");
        assert_eq!(
            samples[..3],
            std::array::from_fn::<_, 3, _>({
                let mut again = PinkNoise::new();
                move |_| again.next()
            })
        );
    }
}
