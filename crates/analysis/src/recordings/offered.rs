//! What a sensor says of its audio, checked by one rule, whether it came over HTTP or over the broker.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::parameters::parse_seconds;
use antiphon_platform::http::{Problem, time};
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;

pub(crate) use super::upload::check_audio;

/// How far a sensor's clock may run ahead of ours.
const AHEAD: Micros = 3_600 * SECOND;

/// The longest lead-in, in seconds.
pub(crate) const LEAD_IN_SECONDS: u32 = 5;

/// Base64 as RFC 4648, section 4, padding optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A recording in JSON, for sensors that speak nothing else.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordingRequest {
    /// The sensor's id.
    // Over the broker the routing key has said it already.
    #[serde(default)]
    #[schema(required = true, value_type = String, example = "roof")]
    pub(crate) sensor_id: Option<String>,
    /// When the first sample after the lead-in was heard: RFC 3339 with an offset.
    #[schema(example = "2026-05-01T00:00:00Z")]
    timestamp: String,
    /// The bytes of an audio file of any format that is decoded, in base64, standard alphabet, padding optional.
    audio_data: String,
    /// Seconds at the front that were sent before and yield nothing: 0 to 5, at most six decimals.
    #[serde(default)]
    #[schema(value_type = Option<f64>)]
    lead_in: Option<serde_json::Number>,
}

/// Audio that may be accepted for a sensor that exists.
pub(crate) struct Offered {
    /// The first sample after the lead-in, µs since 1970.
    pub(crate) start: Micros,
    /// In µs.
    pub(crate) lead_in: u32,
    /// A file of a known format by its first bytes.
    pub(crate) audio: Bytes,
}

impl RecordingRequest {
    /// Checks everything but the sensor: audio of at most `limit` bytes that arrived at `arrived`.
    ///
    /// # Errors
    /// 400, 413 or 415, naming the field.
    pub(crate) fn check(self, arrived: Micros, limit: usize) -> Result<Offered, Problem> {
        let start = time::parse(&self.timestamp)
            .map_err(|error| Problem::bad_field("timestamp", format!("timestamp {error}")))?;
        let start = check_start("timestamp", start, arrived)?;
        let lead_in = self.lead_in.as_ref().map_or(Ok(0), json_lead_in)?;
        let audio = BASE64
            .decode(&self.audio_data)
            .map_err(|error| Problem::bad_field("audio_data", format!("audio_data is not base64: {error}")))?;
        check_audio(&audio, limit)?;
        Ok(Offered { start, lead_in, audio: audio.into() })
    }
}

/// The start of audio that arrived at `arrived`, said in `field`.
pub(crate) fn check_start(field: &str, start: Micros, arrived: Micros) -> Result<Micros, Problem> {
    if start < 0 {
        return Err(Problem::bad_field(field, format!("{field} is before 1970")));
    }
    if start > arrived + AHEAD {
        let detail = format!("{field} is more than an hour ahead of the server's clock");
        return Err(Problem::bad_field(field, detail).hint(Some("check the sensor's clock")));
    }
    Ok(start)
}

/// A lead-in in µs.
pub(crate) fn check_lead_in(lead_in: Micros) -> Result<u32, Problem> {
    u32::try_from(lead_in).ok().filter(|lead_in| *lead_in <= LEAD_IN_SECONDS * SECOND as u32).ok_or_else(bad_lead_in)
}

fn json_lead_in(number: &serde_json::Number) -> Result<u32, Problem> {
    let text = number.as_f64().map_or_else(String::new, |seconds| seconds.to_string());
    parse_seconds(&text).ok_or_else(bad_lead_in).and_then(check_lead_in)
}

fn bad_lead_in() -> Problem {
    let detail = format!("lead_in must be a number of seconds from 0 to {LEAD_IN_SECONDS}, at most six decimals");
    Problem::bad_field("lead_in", detail)
}
