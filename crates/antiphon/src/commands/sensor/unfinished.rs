//! What was heard and is no piece yet, as a WAV file beside the pieces: a recorder that is killed loses none of it.
//!
//! The file grows with every block. It is not synced, so that it costs a memory card nothing: the kernel keeps it when
//! the process dies, and a power cut takes what has not reached the disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use antiphon_analysis::pieces::{Cutter, Piece, duration};
use antiphon_audio::encode::{self, PcmFormat, Samples, WavWriter};
use anyhow::{Context, Result};

use super::input::{Input, PcmOptions};
use super::spool::{Name, Spool};

/// The ending of its name; the rest is the name that the piece will have.
pub const ENDING: &str = ".wav";

/// The file of the piece that is being recorded.
pub struct Unfinished<'a> {
    spool: &'a Spool,
    file: Option<(Name, WavWriter<File>)>,
    /// Samples are shifted up by so many bits, because WAV has whole bytes.
    shift: u32,
    /// Why there is none; said once.
    failed: bool,
}

impl<'a> Unfinished<'a> {
    /// None yet.
    pub fn new(spool: &'a Spool) -> Self {
        Self { spool, file: None, shift: 0, failed: false }
    }

    /// Appends a block that the cutter has taken, or begins with all that it holds. Why that failed, the first time.
    ///
    /// # Errors
    /// When the file cannot be written: the recorder goes on without it.
    pub fn append(&mut self, cutter: &Cutter, block: &[i32]) -> Result<()> {
        let written = match &mut self.file {
            Some((_, writer)) => write(writer, self.shift, block),
            None => self.begin(cutter),
        };
        self.once(written)
    }

    /// The cutter has cut these pieces, whose first this was: has them kept, and ends the file. Without pieces there was
    /// nothing to be kept.
    pub fn cut(&mut self, pieces: Vec<Piece>, mut keep: impl FnMut(Piece)) {
        let unfinished = self.file.take().map(|(name, _)| name);
        let mut pieces = pieces.into_iter();
        let name = match (pieces.next(), unfinished) {
            (Some(first), unfinished) => {
                // From here on, if a piece of that name is there, this file is not needed any more.
                let name = unfinished.map(|name| self.spool.settle(name, Name::of(&first)));
                keep(first);
                pieces.for_each(keep);
                name
            }
            (None, unfinished) => unfinished,
        };
        if let Some(name) = name {
            self.spool.remove_unfinished(name);
        }
    }

    fn begin(&mut self, cutter: &Cutter) -> Result<()> {
        let pending = cutter.pending();
        let format = *cutter.format();
        let whole = format.bits.next_multiple_of(8);
        self.shift = u32::from(whole - format.bits);
        let name = Name { start: pending.start, lead_in: pending.lead_in };
        let file = File::create(self.spool.unfinished(name))?;
        let mut writer = WavWriter::new(file, PcmFormat { bits: whole, ..format }, None)?;
        write(&mut writer, self.shift, pending.samples)?;
        self.file = Some((name, writer));
        Ok(())
    }

    fn once(&mut self, written: Result<()>) -> Result<()> {
        if written.is_ok() {
            self.failed = false;
            return Ok(());
        }
        self.file = None;
        if std::mem::replace(&mut self.failed, true) { Ok(()) } else { written }
    }
}

fn write(writer: &mut WavWriter<File>, shift: u32, samples: &[i32]) -> Result<()> {
    if shift == 0 {
        return Ok(writer.write(Samples::Integers(samples))?);
    }
    let shifted: Vec<i32> = samples.iter().map(|sample| sample << shift).collect();
    Ok(writer.write(Samples::Integers(&shifted))?)
}

/// Makes a piece of what a recorder left that was killed; nothing when it had heard nothing new.
///
/// # Errors
/// When the file cannot be read.
pub fn recover(path: &Path, name: Name) -> Result<Option<Piece>> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    if file.metadata().is_ok_and(|file| file.len() == 0) {
        return Ok(None);
    }
    let mut input = Input::open(file, &PcmOptions::none())?;
    let mut samples = Vec::new();
    while input.next(&mut samples)? {}
    let format = *input.format();
    let whole = duration((samples.len() / usize::from(format.channels)) as u64, format.rate);
    if whole <= name.lead_in {
        return Ok(None);
    }
    let audio = encode::flac(&format, Samples::Integers(&samples))?;
    Ok(Some(Piece { start: name.start, lead_in: name.lead_in, duration: whole - name.lead_in, audio }))
}

/// The unfinished files in a folder, with the names that their pieces will have; seldom more than one.
///
/// # Errors
/// What the file system says.
pub fn list(folder: &Path) -> std::io::Result<Vec<(Name, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(name) = Name::parse(&entry.file_name().to_string_lossy(), ENDING) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use antiphon_analysis::pieces::{Cut, Timeline};
    use antiphon_audio::decode::{Decoder, Limits};
    use antiphon_platform::clock::{Clock, SECOND};

    use super::*;

    const START: i64 = 1_777_593_600_000_000;

    fn samples(seconds: usize, bits: u16) -> Vec<i32> {
        (0..seconds * 8_000).map(|index| ((index * 7_919 % 30_000) as i32 - 15_000) >> (16 - bits)).collect()
    }

    /// A recorder that hears so many seconds in blocks of 100 ms, and is killed.
    fn record(folder: &Path, seconds: usize, bits: u16) -> Vec<i32> {
        let spool = Spool::open(folder, 1 << 20, Clock::manual(START)).unwrap();
        let format = PcmFormat { rate: 8_000, channels: 1, bits, float: false };
        let cut = Cut { piece: 2 * SECOND, lead_in: SECOND };
        let mut cutter = Cutter::new(cut, format, Timeline::counted(8_000, START));
        let mut unfinished = Unfinished::new(&spool);
        let all = samples(seconds, bits);
        for block in all.chunks(800) {
            match cutter.push(block, 0).unwrap() {
                pieces if pieces.is_empty() => unfinished.append(&cutter, block).unwrap(),
                pieces => {
                    unfinished.cut(pieces, |piece| assert_eq!(spool.add(&piece).unwrap(), 0));
                    unfinished.append(&cutter, &[]).unwrap();
                }
            }
        }
        all
    }

    fn decoded(audio: Vec<u8>) -> Vec<i32> {
        let mut decoder = Decoder::from_bytes(audio.into(), Limits::default()).unwrap();
        let mut samples = Vec::new();
        while let Some(block) = decoder.next_integers().unwrap() {
            samples.extend_from_slice(block.channels()[0]);
        }
        samples
    }

    #[test]
    fn what_a_killed_recorder_had_heard_becomes_a_piece() {
        for (seconds, bits, pieces, rest) in [(1, 16, 0, 1), (5, 16, 2, 1), (5, 12, 2, 1), (4, 16, 2, 0)] {
            let folder = tempfile::tempdir().unwrap();
            let all = record(folder.path(), seconds, bits);
            let spool = Spool::open(folder.path(), 1 << 20, Clock::manual(START)).unwrap();
            assert_eq!(spool.depth().0, pieces, "{seconds} s");
            let recovered = spool.recover().unwrap();
            assert_eq!(recovered, rest * SECOND, "{seconds} s of {bits} bits");
            assert!(list(folder.path()).unwrap().is_empty());
            assert_eq!(spool.recover().unwrap(), 0);
            if rest == 0 {
                continue;
            }
            let lead_in = if pieces == 0 { 0 } else { SECOND };
            let name = Name { start: START + pieces as i64 * 2 * SECOND, lead_in };
            let got = decoded(spool.read(name).unwrap());
            let from = (seconds - 1) * 8_000 - if pieces == 0 { 0 } else { 8_000 };
            let scale = if bits == 12 { 16 } else { 1 };
            assert_eq!(got, all[from..].iter().map(|sample| sample * scale).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_a_piece_already_is_not_made_one_again() {
        let folder = tempfile::tempdir().unwrap();
        record(folder.path(), 5, 16);
        let (name, path) = list(folder.path()).unwrap().remove(0);
        let spool = Spool::open(folder.path(), 1 << 20, Clock::manual(START)).unwrap();
        // Killed after the piece was put into the spool and before the file was removed.
        spool.add(&recover(&path, name).unwrap().unwrap()).unwrap();
        let before = spool.depth();
        assert_eq!((spool.recover().unwrap(), spool.depth()), (0, before));
        assert!(!path.exists());
    }

    #[test]
    fn what_broke_off_within_a_sample_or_a_header_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        record(folder.path(), 5, 16);
        let (_, path) = list(folder.path()).unwrap().remove(0);
        let whole = fs::read(&path).unwrap();
        for (length, heard) in [(whole.len() - 1, SECOND - 125), (44 + 16_000 + 2, 125), (44, 0), (20, 0), (0, 0)] {
            fs::write(&path, &whole[..length]).unwrap();
            let spool = Spool::open(folder.path(), 1 << 20, Clock::manual(START)).unwrap();
            let recovered = spool.recover();
            assert_eq!(recovered.unwrap_or(0), heard, "{length} bytes");
            assert!(!path.exists(), "{length} bytes");
            assert!(list(folder.path()).unwrap().is_empty(), "{length} bytes");
            drop(spool);
            fs::remove_dir_all(folder.path().join("refused")).ok();
            for entry in fs::read_dir(folder.path()).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "flac") {
                    fs::remove_file(path).unwrap();
                }
            }
        }
    }
}
