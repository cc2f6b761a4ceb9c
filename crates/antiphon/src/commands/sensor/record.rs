//! `antiphon sensor record`: a live stream becomes pieces, kept on disk until the server has them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use antiphon_analysis::pieces::{Cut, Piece};
use antiphon_audio::encode::PcmFormat;
use antiphon_platform::clock::{Clock, Micros, SECOND};
use anyhow::{Context, Result, bail};
use serde_json::json;

use super::input::{Input, PcmOptions};
use super::ledger::State;
use super::live::Live;
use super::progress::Progress;
use super::sender::{Attempt, Sender};
use super::source::{Program, Source};
use super::spool::{self, Spool};
use super::unfinished::Unfinished;
use crate::cli::Globals;
use crate::commands::output::{counted, print_json};
use crate::commands::server::ServerOptions;

/// Blocks between the input and the cutter: with those of the pipe enough for a disk that takes its time.
const BLOCKS: usize = 64;
/// After a signal: how long for the input to end, and for the last pieces to be sent.
const INPUT_ENDS: Duration = Duration::from_millis(500);
const LAST_PIECES: Duration = Duration::from_secs(5);
/// The first and the longest wait before an input that ended is opened again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Options of `antiphon sensor record`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The input is WAV, FLAC, MP3, Ogg or M4A by its first bytes, or bare PCM with --rate. It is cut into pieces that end at multiples \
                  of --piece since 1970, each with a lead-in of audio already sent. Every piece is kept in the spool, synced to \
                  disk, until the server has accepted it, and is sent with its original time; pieces that an earlier run left \
                  are sent first, and so is what it had heard of its last piece when it was killed. `antiphon sensor status` \
                  tells how it is doing.\n\nTimes: the first sample gets its time from the clock, then samples are counted. \
                  Drift of the sound card is followed in steps of at most 15 ms; after an interruption of more than 500 ms, or \
                  when the clock is set, the stream begins anew by the clock. An input that comes faster than real time (a \
                  file) is played in real time, unless --start gives it times of its own.\n\nExamples:\n  \
                  antiphon sensor record roof --input alsa:plughw:1 --key-file roof.key --server https://audio.example.org\n  \
                  antiphon sensor record roof --rate 48000 --input \"pw-record --rate 48000 --channels 1 --format s16 -\"\n  \
                  antiphon sensor record radio --restart \\\n      --input \"ffmpeg -v error -i http://radio.example.org/live.ogg -f wav -\"\n  \
                  cat hour.wav | antiphon sensor record roof\n  \
                  antiphon sensor record roof --start 2026-05-01T05:30:00+02:00 --input \"cat morning.wav\""
)]
pub struct Arguments {
    /// The sensor's id.
    id: String,
    /// Where the audio comes from: `-` for standard input, `alsa:DEVICE` for a sound card (`arecord -L` lists them; 48
    /// kHz unless --rate says else), or a shell command that writes it to its output.
    #[arg(long, value_name = "-|alsa:DEVICE|COMMAND", default_value = "-", allow_hyphen_values = true)]
    input: Source,
    /// Open the input again whenever it ends: a station that hung up. A sound card always is.
    #[arg(long)]
    restart: bool,
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
    /// Where there is no terminal: how often a line tells how it is going, in seconds; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = super::seconds)]
    log_every: Micros,
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
    let is_endless = arguments.restart || arguments.input.is_endless();
    if is_endless && arguments.start.is_some() {
        bail!(
            "--start is for a recording that ends; a sound card, and what is opened again, has the times of the clock"
        );
    }
    if arguments.restart && arguments.input == Source::StandardInput {
        bail!("standard input cannot be opened again: give --restart an input that can, such as a command");
    }
    let clock = Clock::system();
    let folder = super::spool_folder(arguments.spool.as_deref(), &arguments.id, globals);
    let mut sender = Sender::new(&arguments.id, &arguments.server, globals, clock.clone());
    // Whoever tries it out is told at once what is wrong. A sensor that has worked records at once: a network that comes
    // slowly after a power cut must cost no audio, and a key can be mended.
    let warning = if has_worked(&folder) { None } else { sender.check()? };
    let spool = Spool::open(&folder, arguments.spool_limit, clock.clone())?;
    spool.ledger().started(&arguments.id);
    let every = u64::try_from(arguments.log_every).ok().filter(|every| *every > 0).map(Duration::from_micros);
    let progress = Progress::new(&arguments.id, spool.ledger(), every);
    if let Some(warning) = warning {
        progress.say(&format!("{warning}. Recording goes on; pieces are kept in {}", folder.display()));
    }
    match spool.recover() {
        Ok(0) => {}
        Ok(heard) => {
            let seconds = heard as f64 / SECOND as f64;
            progress.say(&format!("{seconds:.1} s that an earlier run was recording when it was killed are kept"));
        }
        Err(error) => progress.say(&format!("{error:#}")),
    }
    let left = spool.depth();
    progress.waiting(left);
    if left.0 > 0 {
        progress.say(&format!("{} of an earlier run first", counted(left.0, "piece")));
    }
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(Arc::clone(&stop))?;
    let (abandon, abandoned) = sync_channel::<()>(1);
    let outcome = std::thread::scope(|scope| {
        let (spool, progress, sender) = (&spool, &progress, &mut sender);
        scope.spawn(|| spool.ledger().keep(|| progress.tick()));
        let sending = scope.spawn(move || send_all(spool, sender, progress, &abandoned));
        let recorded = record(arguments, &clock, spool, progress, &stop);
        spool.close();
        // Whatever was recorded is safe. Only a signal ends the wait for a server that is away, or an input that broke,
        // so that whoever started this process can start it again.
        let mut last_pieces = LAST_PIECES;
        while !sending.is_finished() {
            std::thread::park_timeout(Duration::from_millis(50));
            if stop.load(Ordering::Relaxed) || recorded.is_err() {
                last_pieces = last_pieces.saturating_sub(Duration::from_millis(50));
                if last_pieces.is_zero() {
                    let _ = abandon.try_send(());
                }
            }
        }
        if let Err(error) = &recorded {
            spool.ledger().failed(&format!("{error:#}"));
        }
        spool.ledger().close();
        recorded
    });
    let totals = progress.finish(spool.depth().0);
    if globals.json {
        print_json(&json!({"sensor": arguments.id, "sent": totals.sent,
            "waiting": totals.waiting, "lost": totals.lost, "refused": totals.refused}))?;
    }
    outcome?;
    Ok(if totals.lost + totals.refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Whether a sender has used this spool before: the server took a piece, or was not there to say no.
fn has_worked(folder: &Path) -> bool {
    let has_sent = State::read(folder).is_ok_and(|state| state.is_some_and(|state| state.sent.is_some()));
    has_sent || spool::list(folder).is_ok_and(|pieces| !pieces.is_empty())
}

/// Records until the input ends for good or the process is told to stop.
fn record(
    arguments: &Arguments,
    clock: &Clock,
    spool: &Spool,
    progress: &Progress<'_>,
    stop: &AtomicBool,
) -> Result<()> {
    let is_endless = arguments.restart || arguments.input.is_endless();
    let (mut has_ever_heard, mut wait) = (false, AGAIN.0);
    loop {
        let (has_heard, ended) = record_once(arguments, clock, spool, progress, stop);
        has_ever_heard |= has_heard;
        // What never gave a sample is a mistake of whoever started it.
        if !is_endless || !has_ever_heard || stop.load(Ordering::Relaxed) {
            return ended;
        }
        let reason = ended.map_or_else(|error| format!("{error:#}"), |()| String::from("the input ended"));
        progress.input_ended(&reason);
        if has_heard {
            wait = AGAIN.0;
        }
        let until = Instant::now() + wait;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        wait = (wait * 2).min(AGAIN.1);
    }
}

/// Cuts the input into the spool until it ends or the process is told to stop; whether anything was heard.
fn record_once(
    arguments: &Arguments,
    clock: &Clock,
    spool: &Spool,
    progress: &Progress<'_>,
    stop: &AtomicBool,
) -> (bool, Result<()>) {
    let pcm = arguments.input.pcm(&arguments.pcm);
    // The program is dropped last, after the thread that reads from it was told that nobody listens.
    let (output, mut program) = match arguments.input.open(&pcm) {
        Ok(opened) => opened,
        Err(error) => return (false, Err(error)),
    };
    let (events, incoming) = sync_channel(BLOCKS);
    let thread_clock = clock.clone();
    std::thread::spawn(move || read_input(output, &pcm, &thread_clock, &events));
    let mut unfinished = Unfinished::new(spool);
    let (mut format, mut live, mut deadline) = (None, None, None);
    let ended = loop {
        let outcome = match next_event(&incoming, stop, &mut deadline, program.as_ref()) {
            Some(Event::Opened(opened, description)) => {
                progress.say(&format!("recording {description}"));
                format = Some(opened);
                Ok(())
            }
            Some(Event::Block(samples, arrival)) => {
                let Some(format) = format else { continue };
                let live = live.get_or_insert_with(|| {
                    progress.input_works();
                    let cut = Cut { piece: arguments.piece, lead_in: arguments.lead_in };
                    Live::new(cut, arguments.start, format, &samples, arrival)
                });
                match live.push(&samples, arrival, progress, stop) {
                    Ok(Some(pieces)) => {
                        keep(live, &samples, pieces, &mut unfinished, spool, progress);
                        Ok(())
                    }
                    // Stopped while it was held back: what comes behind it was not heard either.
                    Ok(None) => break Ok(()),
                    Err(error) => Err(error),
                }
            }
            Some(Event::Ended(ended)) => break ended,
            None => break Ok(()),
        };
        if outcome.is_err() {
            break outcome;
        }
    };
    let has_heard = live.is_some();
    let last = live.map_or(Ok(None), |mut live| live.cutter.finish().context("a piece cannot be encoded"));
    let ended = last.map(|last| put(last.into_iter().collect(), &mut unfinished, spool, progress)).and(ended);
    let stopped = stop.load(Ordering::Relaxed);
    let ended = match program.as_mut() {
        Some(program) if !stopped => program.finish().and(ended),
        _ if stopped => Ok(()),
        _ => ended,
    };
    (has_heard, ended)
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

/// Puts what a block has completed into the spool, and the rest where a kill leaves it.
fn keep(
    live: &Live,
    block: &[i32],
    pieces: Vec<Piece>,
    unfinished: &mut Unfinished<'_>,
    spool: &Spool,
    progress: &Progress<'_>,
) {
    if !pieces.is_empty() {
        put(pieces, unfinished, spool, progress);
    }
    if let Err(error) = unfinished.append(&live.cutter, block) {
        progress.say(&format!("the piece that is being recorded would be lost if this process were killed: {error:#}"));
    }
}

fn put(pieces: Vec<Piece>, unfinished: &mut Unfinished<'_>, spool: &Spool, progress: &Progress<'_>) {
    unfinished.cut(pieces, |piece| match spool.add(&piece) {
        Ok(lost) => progress.kept(lost),
        // The next piece may find room again; a recorder that ends loses all of them.
        Err(error) => progress.not_kept(&format!("{error:#}")),
    });
    progress.waiting(spool.depth());
}

/// The thread that sends: the oldest first, until the spool is closed and empty or the process gives up.
fn send_all(spool: &Spool, sender: &mut Sender, progress: &Progress<'_>, abandoned: &Receiver<()>) {
    while !spool.is_done() {
        let Some(name) = spool.take_oldest(Duration::from_secs(1)) else { continue };
        let audio = match spool.read(name) {
            Ok(audio) => audio,
            Err(error) => {
                // Given up meanwhile, to make room for newer ones; or a disk that fails.
                if error.kind() != std::io::ErrorKind::NotFound {
                    progress.cannot_send(&format!("a piece in the spool cannot be read: {error}"));
                }
                spool.forget(name);
                continue;
            }
        };
        match sender.send(name.start, name.lead_in, &audio) {
            Attempt::Accepted(skew) => {
                spool.remove(name);
                progress.sent(name, skew);
            }
            Attempt::Later(reason, wait) => {
                spool.release();
                progress.cannot_send(&reason);
                if abandoned.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
            Attempt::Refused(reason) => match spool.set_aside(name, &reason) {
                Ok(path) => progress.refused(&reason, &path),
                Err(error) => {
                    progress.cannot_send(&format!("a refused piece cannot be moved aside: {error}"));
                    spool.forget(name);
                }
            },
        }
        progress.waiting(spool.depth());
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
