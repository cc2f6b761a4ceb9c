//! `antiphon sensor record`: a live stream becomes pieces, kept on disk until the server has them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use antiphon_analysis::pieces::{Cut, Cutter, Piece, Timeline, duration};
use antiphon_audio::encode::PcmFormat;
use antiphon_platform::clock::{Clock, Micros, SECOND};
use anyhow::{Context, Result};
use serde_json::json;

use super::input::{Input, PcmOptions, Program, StandardInput};
use super::sender::{Attempt, Sender};
use super::spool::Spool;
use super::status::Status;
use crate::cli::Globals;
use crate::commands::output::{counted, print_json};
use crate::commands::server::ServerOptions;

/// Blocks between the input and the cutter: with those of the pipe enough for a disk that takes its time.
const BLOCKS: usize = 64;
/// An input that is so far ahead of the clock is no live stream. Less than what counts as an interruption.
const NOT_LIVE: Micros = 3 * SECOND / 2;
/// After a signal: how long for the input to end, and for the last pieces to be sent.
const INPUT_ENDS: Duration = Duration::from_millis(500);
const LAST_PIECES: Duration = Duration::from_secs(5);

/// Options of `antiphon sensor record`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The input is WAV, FLAC, MP3, Ogg or M4A by its first bytes, or bare PCM with --rate. It is cut into pieces that end at multiples \
                  of --piece since 1970, each with a lead-in of audio already sent. Every piece is kept in the spool, synced to \
                  disk, until the server has accepted it, and is sent with its original time; pieces that an earlier run left \
                  are sent first.\n\nTimes: the first sample gets its time from the clock, then samples are counted. Drift of the \
                  sound card is followed in steps of at most 15 ms; after an interruption of more than 500 ms the stream begins \
                  anew by the clock. An input that comes faster than real time (a file) is played in real time, unless --start \
                  gives it times of its own.\n\nExamples:\n  arecord -q -f S16_LE -r 48000 -c 1 -t wav | antiphon sensor record roof\n  \
                  antiphon sensor record roof --input \"arecord -q -f S16_LE -r 48000 -t raw\" --rate 48000 \\\n      --key-file roof.key --server https://audio.example.org\n  \
                  antiphon sensor record radio \\\n      --input \"ffmpeg -v error -i http://radio.example.org/live.ogg -f wav -\"\n  \
                  antiphon sensor record roof --start 2026-05-01T05:30:00+02:00 --input \"cat morning.wav\""
)]
pub struct Arguments {
    /// The sensor's id.
    id: String,
    /// Where the audio comes from: `-` for standard input, or a shell command that writes it to its output.
    #[arg(long, value_name = "-|COMMAND", default_value = "-", allow_hyphen_values = true)]
    input: String,
    #[command(flatten)]
    pcm: PcmOptions,
    /// Length of a piece in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = super::piece_seconds)]
    piece: Micros,
    /// Audio repeated in front of each piece in seconds, 0 to 5.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = super::lead_in_seconds)]
    lead_in: Micros,
    /// When the first sample was heard (RFC 3339): for a recording that is sent later. Then samples are counted only.
    #[arg(long, value_name = "TIME", value_parser = super::time)]
    start: Option<Micros>,
    /// Where pieces are kept until the server has them; default spool/ID in the data folder.
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// The most that is kept there, in bytes; beyond it the oldest pieces are given up.
    #[arg(long, value_name = "BYTES", default_value = "4000000000")]
    spool_limit: u64,
    #[command(flatten)]
    server: ServerOptions,
}

/// What happens to a recorder.
enum Event {
    /// The input has begun.
    Opened(PcmFormat, String),
    /// Interleaved samples, and when they arrived.
    Block(Vec<i32>, Micros),
    /// The input has ended, well or not.
    Ended(Result<()>),
}

/// Runs `antiphon sensor record`.
pub fn run(arguments: &Arguments, globals: &Globals) -> Result<ExitCode> {
    let clock = Clock::system();
    let folder = arguments.spool.clone().unwrap_or_else(|| globals.data.join("spool").join(&arguments.id));
    let mut sender = Sender::new(&arguments.id, &arguments.server, globals, clock.clone());
    let warning = sender.check()?;
    let spool = Spool::open(&folder, arguments.spool_limit)?;
    let status = Status::new(&arguments.id);
    if let Some(warning) = warning {
        status.say(&format!("{warning}. Recording goes on; pieces are kept in {}", folder.display()));
    }
    let left = spool.depth().0;
    if left > 0 {
        status.say(&format!("{} of an earlier run first", counted(left, "piece")));
    }
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(Arc::clone(&stop))?;
    let (abandon, abandoned) = sync_channel::<()>(1);
    let outcome = std::thread::scope(|scope| {
        let (spool, status, sender) = (&spool, &status, &mut sender);
        let sending = scope.spawn(move || send_all(spool, sender, status, &abandoned));
        let recorded = record(arguments, &clock, spool, status, &stop);
        spool.close();
        // Whatever was recorded is safe; only a signal ends the wait for a server that is away.
        let mut last_pieces = LAST_PIECES;
        while !sending.is_finished() {
            std::thread::park_timeout(Duration::from_millis(50));
            if stop.load(Ordering::Relaxed) {
                last_pieces = last_pieces.saturating_sub(Duration::from_millis(50));
                if last_pieces.is_zero() {
                    let _ = abandon.try_send(());
                }
            }
        }
        recorded
    });
    let totals = status.finish(spool.depth().0);
    if globals.json {
        print_json(&json!({"sensor": arguments.id, "sent": totals.sent,
            "waiting": totals.waiting, "lost": totals.lost, "refused": totals.refused}))?;
    }
    outcome?;
    Ok(if totals.lost + totals.refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Cuts the input into the spool until it ends or the process is told to stop.
fn record(arguments: &Arguments, clock: &Clock, spool: &Spool, status: &Status, stop: &AtomicBool) -> Result<()> {
    // Dropped last, after the thread that reads from it was told that nobody listens.
    let mut program = None;
    let (events, incoming) = sync_channel(BLOCKS);
    let pcm = arguments.pcm.clone();
    let thread_clock = clock.clone();
    if arguments.input == "-" {
        std::thread::spawn(move || read_input(StandardInput, &pcm, &thread_clock, &events));
    } else {
        let (started, output) = Program::start(&arguments.input)?;
        program = Some(started);
        std::thread::spawn(move || read_input(output, &pcm, &thread_clock, &events));
    }
    let (mut cutting, mut deadline) = (None, None);
    let ended = loop {
        match next_event(&incoming, stop, &mut deadline, program.as_ref()) {
            Some(Event::Opened(format, description)) => {
                status.say(&format!("recording {description}"));
                cutting = Some((format, None));
            }
            Some(Event::Block(samples, arrival)) => {
                let Some((format, cutter)) = &mut cutting else { continue };
                let cutter = cutter.get_or_insert_with(|| Live::new(arguments, format, &samples, arrival));
                keep(cutter.push(&samples, arrival, clock, status, stop)?, spool, status)?;
            }
            Some(Event::Ended(ended)) => break ended,
            None => break Ok(()),
        }
    };
    if let Some((_, Some(mut live))) = cutting {
        keep(live.cutter.finish().context("a piece cannot be encoded")?.into_iter().collect(), spool, status)?;
    }
    let stopped = stop.load(Ordering::Relaxed);
    match program {
        Some(mut program) if !stopped => program.finish().and(ended),
        _ if stopped => Ok(()),
        _ => ended,
    }
}

/// The next event; `None` when the process was told to stop and the input had its time to end, which `deadline` holds.
fn next_event(
    incoming: &Receiver<Event>,
    stop: &AtomicBool,
    deadline: &mut Option<Instant>,
    program: Option<&Program>,
) -> Option<Event> {
    loop {
        if stop.load(Ordering::Relaxed) {
            let deadline = *deadline.get_or_insert_with(|| {
                if let Some(program) = program {
                    program.stop();
                }
                Instant::now() + INPUT_ENDS
            });
            if Instant::now() > deadline {
                return None;
            }
        }
        match incoming.recv_timeout(Duration::from_millis(100)) {
            Ok(event) => return Some(event),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The thread that reads: it does nothing else, so that arrival times are those of the input.
fn read_input(
    source: impl std::io::Read + Send + Sync + 'static,
    pcm: &PcmOptions,
    clock: &Clock,
    events: &SyncSender<Event>,
) {
    let read = || -> Result<()> {
        let mut input = Input::open(source, pcm)?;
        let mut listening = events.send(Event::Opened(*input.format(), input.describe())).is_ok();
        while listening {
            let mut samples = Vec::new();
            if !input.next(&mut samples)? {
                break;
            }
            listening = events.send(Event::Block(samples, clock.now())).is_ok();
        }
        Ok(())
    };
    // Nobody listens any more when the process was told to stop.
    let _ = events.send(Event::Ended(read()));
}

/// A stream that is being cut, and how its times are kept.
struct Live {
    cutter: Cutter,
    begun: Instant,
    pace: Pace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// It comes as it is heard.
    Clock,
    /// It would come faster, and is held back.
    Held,
    /// It has times of its own.
    Counted,
}

impl Live {
    fn new(arguments: &Arguments, format: &PcmFormat, first: &[i32], arrival: Micros) -> Self {
        let frames = (first.len() / usize::from(format.channels)) as u64;
        let (timeline, pace) = match arguments.start {
            Some(start) => (Timeline::counted(format.rate, start), Pace::Counted),
            None => (Timeline::live(format.rate, frames, arrival), Pace::Clock),
        };
        let cut = Cut { piece: arguments.piece, lead_in: arguments.lead_in };
        Self { cutter: Cutter::new(cut, *format, timeline), begun: Instant::now(), pace }
    }

    fn push(
        &mut self,
        samples: &[i32],
        arrival: Micros,
        clock: &Clock,
        status: &Status,
        stop: &AtomicBool,
    ) -> Result<Vec<Piece>> {
        let format = *self.cutter.format();
        let end = self.cutter.timeline().frames() + (samples.len() / usize::from(format.channels)) as u64;
        let heard = duration(end, format.rate);
        let elapsed = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX);
        if self.pace == Pace::Clock && heard - elapsed > NOT_LIVE {
            self.pace = Pace::Held;
            self.cutter.timeline().stop_following();
            status.say(
                "the input comes faster than real time and is played in real time; --start gives it times of its own",
            );
        }
        if self.pace == Pace::Held {
            let until = self.cutter.timeline().time_of(end);
            while clock.now() < until && !stop.load(Ordering::Relaxed) {
                let left = u64::try_from(until - clock.now()).unwrap_or(0).min(100_000);
                std::thread::park_timeout(Duration::from_micros(left));
            }
        }
        self.cutter.push(samples, arrival).context("a piece cannot be encoded")
    }
}

fn keep(pieces: Vec<Piece>, spool: &Spool, status: &Status) -> Result<()> {
    for piece in pieces {
        match spool.add(&piece) {
            Ok(lost) => status.kept(lost),
            // The next piece may find room again; a recorder that ends loses all of them.
            Err(error) => status.not_kept(&format!("{error:#}")),
        }
        status.waiting(spool.depth());
    }
    Ok(())
}

/// The thread that sends: the oldest first, until the spool is closed and empty or the process gives up.
fn send_all(spool: &Spool, sender: &mut Sender, status: &Status, abandoned: &Receiver<()>) {
    while !spool.is_done() {
        let Some(name) = spool.oldest(Duration::from_secs(1)) else { continue };
        let audio = match spool.read(name) {
            Ok(audio) => audio,
            Err(error) => {
                // Given up meanwhile, to make room for newer ones; or a disk that fails.
                if error.kind() != std::io::ErrorKind::NotFound {
                    status.cannot_send(&format!("a piece in the spool cannot be read: {error}"));
                }
                spool.forget(name);
                continue;
            }
        };
        match sender.send(name.start, name.lead_in, &audio) {
            Attempt::Accepted(skew) => {
                spool.remove(name);
                status.sent(name, skew);
            }
            Attempt::Later(reason, wait) => {
                status.cannot_send(&reason);
                if abandoned.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
            Attempt::Refused(reason) => match spool.set_aside(name, &reason) {
                Ok(path) => status.refused(&reason, &path),
                Err(error) => {
                    status.cannot_send(&format!("a refused piece cannot be moved aside: {error}"));
                    spool.forget(name);
                }
            },
        }
        status.waiting(spool.depth());
        if abandoned.try_recv().is_ok() {
            return;
        }
    }
}

/// Sets `stop` on the first SIGINT or SIGTERM; the second ends the process.
fn stop_on_signals(stop: Arc<AtomicBool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no signals")?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.swap(true, Ordering::Relaxed) {
                    // What is in the spool is safe.
                    std::process::exit(130);
                }
            }
        });
    });
    Ok(())
}
