//! The album: made and uploaded on the first start.

use std::fs::{self, File};
use std::io::{self, BufWriter, IntoInnerError, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use antiphon_audio::encode::{FlacWriter, PcmFormat, Samples};
use antiphon_demo::Piece;
use antiphon_demo::music::MUSIC_RATE;
use antiphon_platform::clock::SECOND;
use anyhow::{Context, Result};
use serde_json::Value;

use super::Demo;
use crate::commands::server::{RequestError, Server, encoded};

const FORMAT: PcmFormat = PcmFormat { rate: MUSIC_RATE, channels: 2, bits: 16, float: false };

/// Where a song lies while it is uploaded, in the data folder.
const FILE: &str = "demo/song.flac";

/// How long, in seconds, the server is asked to wait for a song to be analysed before it is asked again.
const PATIENCE: i64 = 2;

/// Makes a piece, uploads it as a FLAC file with tags and waits until it is analysed; whether it was before everything stopped.
/// A song that is there already is not stored twice.
///
/// # Errors
/// When the server will never take it, or the file cannot be written.
pub fn send(demo: &Demo, server: &Server, piece: &Piece) -> Result<bool> {
    let path = demo.globals.data.join(FILE);
    let file = record(piece, &path).with_context(|| format!("cannot write {}", path.display()))?;
    let Some(answer) = upload(demo, server, piece, &file)? else { return Ok(false) };
    let id = answer["id"].as_str().context("a song got no id")?;
    let analysed = until_done(demo, || {
        let song = server.get(&format!("/api/v1/songs/{id}?wait={PATIENCE}"))?;
        Ok(Some(song).filter(|song| song["status"] != "accepted"))
    })?;
    Ok(analysed.is_some())
}

/// Writes a piece as it is played. The file has no name any more, and is gone when it is closed.
fn record(piece: &Piece, path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    fs::remove_file(path)?;
    let track = piece.track.to_string();
    let tags = [
        ("TITLE", piece.title),
        ("ARTIST", piece.artist),
        ("ALBUM", piece.album),
        ("ALBUMARTIST", "Various Artists"),
        ("TRACKNUMBER", &track),
        ("COMMENT", "Made by arithmetic for antiphon up --demo"),
    ];
    let mut buffered = BufWriter::new(file);
    let mut writer = FlacWriter::new(&mut buffered, FORMAT, piece.frames() as u64, &tags)?;
    piece.play(|block| writer.write(Samples::Integers(block)))?;
    writer.finish()?;
    Ok(buffered.into_inner().map_err(IntoInnerError::into_error)?)
}

fn upload(demo: &Demo, server: &Server, piece: &Piece, file: &File) -> Result<Option<Value>> {
    let length = file.metadata()?.len();
    let disposition = format!("attachment; filename*=UTF-8''{}.flac", encoded(piece.title));
    let headers = [("content-disposition", disposition.as_str()), ("content-type", "audio/flac")];
    until_done(demo, || {
        let mut body = FromStart { file, read: 0 };
        server.upload("/api/v1/songs", &headers, &mut body, length).map(|answer| Some(answer.json()))
    })
}

/// Reads a file from its beginning, wherever it was written last.
struct FromStart<'a> {
    file: &'a File,
    read: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.read)?;
        self.read += count as u64;
        Ok(count)
    }
}

/// Asks until there is an answer, also while the server is busy; `None` when everything stops.
fn until_done(demo: &Demo, mut ask: impl FnMut() -> Result<Option<Value>, RequestError>) -> Result<Option<Value>> {
    while !demo.stop.is_cancelled() {
        match ask() {
            Ok(Some(answer)) => return Ok(Some(answer)),
            Ok(None) => {}
            Err(error) if error.is_temporary() => {
                demo.wait_until(demo.clock.now() + SECOND);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
