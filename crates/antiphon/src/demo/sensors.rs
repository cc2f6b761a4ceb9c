//! The simulated sensors: made on the first start, each with a key that the demo keeps for the next ones.

use std::path::{Path, PathBuf};

use antiphon_analysis::ids::{RecordingId, audio_digest};
use antiphon_audio::encode::{PcmFormat, Samples, quick_flac};
use antiphon_demo::{Place, RATE};
use antiphon_platform::clock::{SECOND, micros};
use antiphon_platform::disk::{LocalDisk, create_folders};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use super::Demo;
use crate::cli::Globals;
use crate::commands::sensor::sender::{Attempt, Sender};
use crate::commands::server::{Server, ServerOptions};
use crate::data_folder;

/// What a place's sound is sent as.
const FORMAT: PcmFormat = PcmFormat { rate: RATE, channels: 1, bits: 16, float: false };

/// Where the sensors' keys lie, in the data folder.
const KEYS: &str = "demo";

/// Seconds of audio in front of each piece.
pub const LEAD_IN: i64 = 2;

/// A piece of what a sensor heard, encoded.
pub struct Sound {
    /// What the sensor's clock said at its beginning, µs since 1970.
    pub start: i64,
    /// The file: FLAC, or rubbish.
    pub bytes: Vec<u8>,
    /// The id that the server will give it.
    pub id: String,
}

/// Makes the sensors that are not there, and keys for those that have none here.
pub fn ensure(globals: &Globals) -> Result<()> {
    let server = Server::beside(globals)?;
    let keys = globals.data.join(KEYS);
    create_folders(&LocalDisk, &keys).with_context(|| format!("cannot make {}", keys.display()))?;
    for place in Place::ALL {
        let path = key_file(&globals.data, place);
        let id = place.sensor();
        let (latitude, longitude) = place.coordinates();
        let sensor = json!({"id": id, "name": place.name(), "latitude": latitude, "longitude": longitude, "timezone": place.zone()});
        let answer = match server.post("/api/v1/sensors", &sensor) {
            Ok(answer) => answer,
            Err(error) if error.status() == Some(409) && path.exists() => continue,
            Err(error) if error.status() == Some(409) => server.post_empty(&format!("/api/v1/sensors/{id}/keys"))?,
            Err(error) => return Err(anyhow!(error).context(format!("the sensor {id} cannot be made"))),
        };
        let key = answer["key"].as_str().with_context(|| format!("the sensor {id} got no key"))?;
        data_folder::write_private(&path, key).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Where the key of a sensor lies.
fn key_file(data: &Path, place: Place) -> PathBuf {
    data.join(KEYS).join(format!("{}.key", place.sensor()))
}

/// What sends for a sensor, with the sensor's own key.
pub fn sender(demo: &Demo, place: Place) -> Result<Sender> {
    let server = Some(demo.server()?.address().to_owned());
    let options = ServerOptions { server, key_file: Some(key_file(&demo.globals.data, place)) };
    Ok(Sender::new(place.sensor(), &options, &demo.globals, demo.clock.clone()))
}

/// What a sensor sends of `seconds` from `start` on, of samples that begin with the lead-in.
pub fn sound(place: Place, start: i64, seconds: i64, samples: &[i32]) -> Result<Sound> {
    let mut bytes = quick_flac(&FORMAT, Samples::Integers(samples))?;
    if let Some(rubbish) = place.spoils(start, seconds) {
        rubbish.spoil(&mut bytes);
    }
    let start = place.clock(start * SECOND);
    let id = RecordingId::derive(place.sensor(), start, (LEAD_IN * SECOND) as u32, &audio_digest(&bytes));
    Ok(Sound { start, bytes, id: id.to_string() })
}

/// Sends a piece until the server has it, or everything stops; whether it has it.
///
/// # Errors
/// When the server will never take it.
pub fn send(demo: &Demo, sender: &mut Sender, sound: &Sound) -> Result<bool> {
    loop {
        match sender.send(sound.start, LEAD_IN * SECOND, &sound.bytes) {
            Attempt::Accepted(_) => return Ok(true),
            Attempt::Refused(reason) => bail!(reason),
            Attempt::Later(reason, pause) => {
                tracing::debug!(reason, "demo: trying again");
                if !demo.wait_until(demo.clock.now() + micros(pause)) {
                    return Ok(false);
                }
            }
        }
    }
}
