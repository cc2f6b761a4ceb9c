//! The album: made and uploaded on the first start.

use antiphon_audio::encode::{PcmFormat, Samples, tagged_flac};
use antiphon_demo::Piece;
use antiphon_demo::music::MUSIC_RATE;
use antiphon_platform::clock::SECOND;
use anyhow::Result;

use super::Demo;
use crate::commands::server::{Server, encoded};

const FORMAT: PcmFormat = PcmFormat { rate: MUSIC_RATE, channels: 2, bits: 16, float: false };

/// Makes a piece and uploads it as a FLAC file with tags. A song that is there already is not stored twice.
///
/// # Errors
/// When the server will never take it.
pub fn send(demo: &Demo, server: &Server, piece: &Piece) -> Result<()> {
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
    loop {
        match server.upload("/api/v1/songs", &headers, &mut &*file, file.len() as u64) {
            Ok(_) => return Ok(()),
            Err(error) if error.is_temporary() => {
                if !demo.wait_until(demo.clock.now() + SECOND) {
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}
