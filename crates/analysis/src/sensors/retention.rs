//! How long what is kept of a sensor.

use antiphon_platform::http::Problem;
use serde::{Deserialize, Serialize};

/// The longest that can be set, in days: a hundred years.
const LONGEST: u32 = 36_525;

/// How long what is kept of a sensor. Values of 1 m and coarser are kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days after which values of one second expire, counted from the end of their UTC day; 1 to 36,525.
    #[schema(example = 90)]
    pub seconds_days: u32,
    /// Days for which frames are kept, where the plan keeps frames at all; 0 to 36,525.
    #[schema(example = 7)]
    pub frames_days: u32,
    /// Days for which audio is kept; 0 keeps none.
    #[schema(example = 0)]
    pub audio_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { seconds_days: 90, frames_days: 7, audio_days: 0 }
    }
}

impl Retention {
    /// Whether audio is kept after it was analysed.
    #[must_use]
    pub fn keeps_audio(&self) -> bool {
        self.audio_days > 0
    }

    /// Reads the stored text.
    ///
    /// # Errors
    /// When it is not what [`to_text`](Self::to_text) writes.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The text to store.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let days = [
            ("seconds_days", self.seconds_days, 1),
            ("frames_days", self.frames_days, 0),
            ("audio_days", self.audio_days, 0),
        ];
        for (field, days, least) in days {
            if !(least..=LONGEST).contains(&days) {
                let detail = format!("{field} is {least} to {LONGEST} days");
                return Err(Problem::bad_field(format!("retention.{field}"), detail));
            }
        }
        Ok(())
    }
}
