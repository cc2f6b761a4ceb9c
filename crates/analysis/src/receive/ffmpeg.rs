//! ffmpeg as a child process: bytes in, 16-bit WAV out.
//!
//! What it decodes comes from strangers, so it may do little: no file and no network (RTSP apart: there it reaches our
//! relay on this machine only), the decoders of sound alone, bounded memory and processor time, no file written. It ends
//! when its pipes end, hence also when this process is killed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Formats that a stream may have: none that leads elsewhere, as playlists do.
const FORMATS: &str = "mp3,aac,ogg,flac,wav,w64,aiff,mpegts,mov,mp4,matroska,webm,asf,ac3,eac3,mpeg,caf,au";

/// What comes out: one of these rates, the nearest; one or two channels.
const OUTPUT: &str = "aformat=sample_fmts=s16:channel_layouts=mono|stereo:\
                      sample_rates=8000|11025|12000|16000|22050|24000|32000|44100|48000";

/// Address space of one ffmpeg, in bytes: decoders of sound need a few dozen MB.
#[cfg(target_os = "linux")]
const MEMORY: u64 = 1 << 30;

/// Processor time of one ffmpeg, in seconds: a year of an MP3 stream, or a loop that does not end.
#[cfg(target_os = "linux")]
const PROCESSOR: u64 = 24 * 3_600;

/// A running ffmpeg; killed when dropped.
pub(super) struct Ffmpeg {
    child: Child,
    said: Arc<Mutex<String>>,
}

/// Where its bytes come from.
pub(super) enum Source<'a> {
    /// Its standard input.
    Pipe,
    /// An RTSP address on this machine.
    Relay(&'a str),
}

impl Ffmpeg {
    /// Starts `program`; its standard input and output.
    pub(super) fn start(program: &str, source: Source<'_>) -> Result<(Self, ChildStdin, ChildStdout), String> {
        let mut command = Command::new(program);
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1"]);
        match source {
            Source::Pipe => command.args([
                "-protocol_whitelist",
                "pipe",
                "-format_whitelist",
                FORMATS,
                "-probesize",
                "262144",
                "-analyzeduration",
                "2000000",
                "-i",
                "pipe:0",
            ]),
            Source::Relay(url) => command.args([
                "-protocol_whitelist",
                "rtsp,rtp,tcp",
                "-rtsp_transport",
                "tcp",
                "-allowed_media_types",
                "audio",
                "-timeout",
                "10000000",
                "-i",
                url,
            ]),
        };
        command.args(["-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-af", OUTPUT]);
        command.args(["-c:a", "pcm_s16le", "-flush_packets", "1", "-f", "wav", "pipe:1"]);
        command.env_clear().current_dir("/");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!(
                "{program} is not installed; install ffmpeg, set receive.ffmpeg, or receive a stream in WAV or FLAC"
            ),
            _ => format!("{program} cannot be started: {error}"),
        })?;
        limit(&child);
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let said = Arc::default();
        let ffmpeg = Self { child, said: Arc::clone(&said) };
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(format!("{program} has no pipes"));
        };
        std::thread::spawn(move || listen(errors, &said));
        Ok((ffmpeg, input, output))
    }

    /// The last thing that it complained of, for people.
    pub(super) fn said(&self) -> Option<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!said.is_empty()).then_some(said)
    }
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(target_os = "linux")]
fn limit(child: &Child) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    let limits = [
        (Resource::As, MEMORY),
        (Resource::Cpu, PROCESSOR),
        (Resource::Fsize, 0),
        (Resource::Nofile, 64),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        if let Err(error) = prlimit(Some(pid), resource, limit) {
            tracing::warn!(%error, ?resource, "ffmpeg runs without a limit");
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn limit(_: &Child) {}

/// Keeps the last line of what it says, of which there may be any amount.
fn listen(errors: ChildStderr, said: &Mutex<String>) {
    const LONGEST: u64 = 4_096;
    let mut errors = BufReader::new(errors);
    loop {
        let mut line = Vec::new();
        match errors.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line);
        let line: String = line.trim().chars().filter(|letter| !letter.is_control()).take(300).collect();
        if !line.is_empty() {
            tracing::debug!(line, "ffmpeg");
            *said.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
    }
}
