//! The album: made and uploaded on the first start.

use antiphon_audio::encode::{PcmFormat, Samples, tagged_flac};
use antiphon_demo::Piece;
use antiphon_demo::music::MUSIC_RATE;
use antiphon_platform::clock::SECOND;
use anyhow::{Context, Result};
use serde_json::Value;

use super::Demo;
use crate::commands::server::{RequestError, Server, encoded};

const FORMAT: PcmFormat = PcmFormat { rate: MUSIC_RATE, channels: 2, bits: 16, float: false };

/// How long, in seconds, the server is asked to wait for a song to be analysed before it is asked again.
const PATIENCE: i64 = 2;

/// Makes a piece, uploads it as a FLAC file with tags and waits until it is analysed; whether it was before everything stopped.
/// A song that is there already is not stored twice.
///
/// # Errors
/// When the server will never take it.
pub fn send(demo: &Demo, server: &Server, piece: &Piece) -> Result<bool> {
    let track = piece.track.to_string();
    let tags = [
        ("TITLE", piece.title),
        ("ARTIST", piece.artist),
        ("ALBUM", piece.album),
        ("ALBUMARTIST", "Various Artists"),
        ("TRACKNUMBER", &track),
        ("COMMENT", "Made by arithmetic for antiphon up --demo"),
    ];
    let file = tagged_flac(&FORMAT, Samples::Integers(&piece.render()), &tags)?;
    let disposition = format!("attachment; filename*=UTF-8''{}.flac", encoded(piece.title));
    let headers = [("content-disposition", disposition.as_str()), ("content-type", "audio/flac")];
    let upload = || server.upload("/api/v1/songs", &headers, &mut &*file, file.len() as u64);
    let Some(answer) = until_done(demo, || upload().map(|answer| Some(answer.json())))? else { return Ok(false) };
    let id = answer["id"].as_str().context("a song got no id")?;
    let analysed = until_done(demo, || {
        let song = server.get(&format!("/api/v1/songs/{id}?wait={PATIENCE}"))?;
        Ok(Some(song).filter(|song| song["status"] != "accepted"))
    })?;
    Ok(analysed.is_some())
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
