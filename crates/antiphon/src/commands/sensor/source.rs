//! Where a sender's audio comes from: standard input, a sound card, or a command.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::input::{PcmOptions, SampleFormat};

/// How long a command may take to end after its output.
const ENDS: Duration = Duration::from_secs(1);

/// What a sound card is asked for unless something else is said, in Hz: all of them have it.
const CARD_RATE: u32 = 48_000;

/// What `--input` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `-`.
    StandardInput,
    /// `alsa:DEVICE`: a sound card, by arecord.
    Alsa(String),
    /// A shell command that writes audio to its output.
    Command(String),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(device) = text.strip_prefix("alsa:") else {
            return Ok(if text == "-" { Self::StandardInput } else { Self::Command(text.to_owned()) });
        };
        // It is an argument of its own, so nothing of it reaches a shell; but it is no option either.
        if device.starts_with('-') || device.chars().any(char::is_control) {
            return Err(format!("{device:?} is no device; `arecord -L` lists them"));
        }
        Ok(Self::Alsa(if device.is_empty() { String::from("default") } else { device.to_owned() }))
    }
}

impl Source {
    /// What will be read as which PCM: a sound card is bare PCM of 48 kHz unless something else is said.
    pub fn pcm(&self, options: &PcmOptions) -> PcmOptions {
        match self {
            Self::Alsa(_) => PcmOptions { rate: Some(options.rate.unwrap_or(CARD_RATE)), ..options.clone() },
            _ => options.clone(),
        }
    }

    /// Whether it never ends by itself, and so is opened again when it did.
    pub fn is_endless(&self) -> bool {
        matches!(self, Self::Alsa(_))
    }

    /// Opens it: its bytes, and the program that makes them if there is one.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn open(&self, pcm: &PcmOptions) -> Result<(Box<dyn Read + Send + Sync>, Option<Program>)> {
        let (program, output) = match self {
            Self::StandardInput => return Ok((Box::new(StandardInput), None)),
            Self::Command(line) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", line]);
                Program::start(shell, line.clone())?
            }
            Self::Alsa(device) => Program::start(arecord(device, pcm), format!("arecord -D {device}"))
                .context("a sound card is read by arecord: `sudo apt install alsa-utils`")?,
        };
        Ok((output, Some(program)))
    }
}

/// Bare PCM, and no WAV: arecord ends every WAV after 2 GiB, which is six hours.
fn arecord(device: &str, pcm: &PcmOptions) -> Command {
    let format = match pcm.sample_format {
        SampleFormat::U8 => "U8",
        SampleFormat::S16 => "S16_LE",
        SampleFormat::S24 => "S24_3LE",
        SampleFormat::S32 => "S32_LE",
        SampleFormat::F32 => "FLOAT_LE",
    };
    let mut command = Command::new("arecord");
    command.args(["-q", "-t", "raw", "-D", device, "-f", format]);
    command.args(["-r", &pcm.rate.unwrap_or(CARD_RATE).to_string(), "-c", &pcm.channels.to_string()]);
    command
}

/// A program whose output is the input; ended when dropped.
pub struct Program {
    child: Child,
    name: String,
}

impl Program {
    fn start(mut command: Command, name: String) -> Result<(Self, Box<dyn Read + Send + Sync>)> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A group of its own, so that all of a pipeline can be ended, and ends when we say so.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name:?}"))?;
        let output = child.stdout.take().context("the command has no output")?;
        Ok((Self { child, name }, Box::new(output)))
    }

    /// Asks it to end, so that its output ends.
    pub fn stop(&self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::TERM);
        }
    }

    /// After its audio has ended: whether it did what it should. One that goes on behind the end of its audio is ended.
    ///
    /// # Errors
    /// When it ended with a failure.
    pub fn finish(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let status = self.child.try_wait().with_context(|| format!("{:?} cannot be waited for", self.name))?;
            match status {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{:?} ended with {status}", self.name),
                None if begun.elapsed() > ENDS => return Ok(()),
                None => std::thread::park_timeout(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
        let _ = self.child.wait();
    }
}

/// Standard input, which is shared and therefore locked for each read.
struct StandardInput;

impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::stdin().lock().read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_what_it_says() {
        assert_eq!("-".parse(), Ok(Source::StandardInput));
        assert_eq!("alsa:".parse(), Ok(Source::Alsa(String::from("default"))));
        assert_eq!("alsa:plughw:1,0".parse(), Ok(Source::Alsa(String::from("plughw:1,0"))));
        assert_eq!("arecord -t raw".parse(), Ok(Source::Command(String::from("arecord -t raw"))));
        assert!("alsa:--dump".parse::<Source>().unwrap_err().contains("arecord -L"));
    }

    #[test]
    fn a_sound_card_is_asked_for_bare_pcm() {
        let source = Source::Alsa(String::from("plughw:1"));
        let pcm = source.pcm(&PcmOptions { sample_format: SampleFormat::S24, ..PcmOptions::none() });
        let command = arecord("plughw:1", &pcm);
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_str().unwrap()).collect();
        assert_eq!(arguments.join(" "), "-q -t raw -D plughw:1 -f S24_3LE -r 48000 -c 1");
        assert!(Source::StandardInput.pcm(&PcmOptions::none()).rate.is_none());
    }

    #[test]
    fn a_command_is_an_input_and_its_failure_is_said() {
        let open = |line: &str| Source::Command(line.to_owned()).open(&PcmOptions::none()).unwrap();
        let (mut output, program) = open("printf 'ab'");
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ab");
        program.unwrap().finish().unwrap();
        let (_output, program) = open("exit 3");
        assert!(program.unwrap().finish().unwrap_err().to_string().contains("exit status: 3"));
    }
}
