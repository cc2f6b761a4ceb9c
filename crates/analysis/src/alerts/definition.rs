//! What people may set of an alert, checked.

use antiphon_platform::http::Problem;
use serde::{Deserialize, Serialize};

use super::machine::{Rule, Side};
use super::quiet::{self, QuietHours};
use crate::descriptors::Known;
use crate::query::seconds::SecondColumn;
use crate::sensors::{checked_name, sent};

/// The longest duration, in seconds: bounds what is read again whenever a sensor changes.
pub(super) const LONGEST: u32 = 3_600;

/// The feature when nobody says one.
const FEATURE: &str = "level.a";

/// The duration when nobody says one.
const SECONDS: u32 = 10;

/// How many seconds a value is of when nobody says one.
const AVERAGE: u32 = 1;

/// What an alert looks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Definition {
    pub(super) name: Option<String>,
    pub(super) feature: String,
    pub(super) stat: Option<String>,
    pub(super) side: Side,
    pub(super) threshold: f64,
    pub(super) hysteresis: f64,
    /// Alerts made before this was there have none.
    #[serde(default = "one_second")]
    pub(super) average: u32,
    pub(super) seconds: u32,
    pub(super) off_seconds: u32,
    pub(super) quiet: Vec<QuietHours>,
    /// The second of the epoch before which nothing counts, in no mean either.
    #[serde(default)]
    pub(super) since: i64,
}

fn one_second() -> u32 {
    AVERAGE
}

/// An alert to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAlert {
    /// The sensor's id.
    #[schema(example = "roof")]
    pub(super) sensor: String,
    /// What people call it, at most 200 characters.
    #[schema(example = "Loud")]
    name: Option<String>,
    /// One column of values by the second: `level.a` (the default), `mel.17`.
    #[schema(example = "level.a")]
    feature: Option<String>,
    /// One of the feature's stats; its default one without it.
    #[schema(example = "leq")]
    stat: Option<String>,
    /// On which side of the threshold a value is beyond it; `above` without it.
    side: Option<Side>,
    /// In the feature's unit.
    #[schema(example = 70.0)]
    threshold: f64,
    /// How far behind the threshold a value must be to count as back, in the same unit, 0 or more; 0 without it.
    #[schema(example = 3.0)]
    hysteresis: Option<f64>,
    /// Of how many seconds the value is that is compared: that of the last so many, merged as in a coarser row of answers
    /// (levels by their energy), where at least half of them was heard. 1 to 3,600; 1 without it.
    #[schema(example = 60)]
    average: Option<u32>,
    /// For how many seconds on end values must be beyond, each of them, 1 to 3,600; 10 without it.
    #[schema(example = 1)]
    seconds: Option<u32>,
    /// For how many seconds they must be back; as `seconds` without it.
    off_seconds: Option<u32>,
    /// When nothing is sent, by the clock of the sensor's time zone: what is told then is sent at the end.
    quiet: Option<Vec<QuietHours>>,
    /// Where each change is sent, `https:` or `http:`; nowhere without it.
    #[schema(example = "https://example.org/hooks/noise")]
    pub(super) webhook: Option<String>,
    /// Whether it looks at anything; true without it.
    pub(super) enabled: Option<bool>,
}

/// What to change of an alert: fields that are not sent stay, null takes a field away or back to its default.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertChange {
    /// What people call it, at most 200 characters.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    name: Option<Option<String>>,
    /// One column of values by the second.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    feature: Option<Option<String>>,
    /// One of the feature's stats.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    stat: Option<Option<String>>,
    /// On which side of the threshold a value is beyond it.
    side: Option<Side>,
    /// In the feature's unit.
    threshold: Option<f64>,
    /// How far behind the threshold a value must be to count as back.
    hysteresis: Option<f64>,
    /// Of how many seconds the value is that is compared, 1 to 3,600.
    average: Option<u32>,
    /// For how many seconds on end values must be beyond, each of them, 1 to 3,600.
    seconds: Option<u32>,
    /// For how many seconds they must be back, 1 to 3,600.
    off_seconds: Option<u32>,
    /// When nothing is sent, by the clock of the sensor's time zone.
    quiet: Option<Vec<QuietHours>>,
    /// Where each change is sent: a new address, or the same one for a new secret; null for nowhere. What was still to be
    /// sent to the old one is not sent.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    pub(super) webhook: Option<Option<String>>,
    /// Whether it looks at anything.
    pub(super) enabled: Option<bool>,
}

impl NewAlert {
    /// What it looks for, and the column that this names.
    ///
    /// # Errors
    /// 400 for the first field that is wrong.
    pub(super) fn definition(self, known: &Known) -> Result<(Definition, SecondColumn), Problem> {
        let seconds = self.seconds.unwrap_or(SECONDS);
        let definition = Definition {
            name: self.name,
            feature: self.feature.unwrap_or_else(|| String::from(FEATURE)),
            stat: self.stat,
            side: self.side.unwrap_or(Side::Above),
            threshold: self.threshold,
            hysteresis: self.hysteresis.unwrap_or(0.0),
            average: self.average.unwrap_or(AVERAGE),
            seconds,
            off_seconds: self.off_seconds.unwrap_or(seconds),
            quiet: self.quiet.unwrap_or_default(),
            since: 0,
        };
        definition.checked(known)
    }
}

impl AlertChange {
    /// What `old` becomes, and the column that it names.
    ///
    /// # Errors
    /// 400 for the first field that is wrong.
    pub(super) fn apply(self, old: &Definition, known: &Known) -> Result<(Definition, SecondColumn), Problem> {
        let mut new = old.clone();
        if let Some(name) = self.name {
            new.name = name;
        }
        if let Some(feature) = self.feature {
            new.feature = feature.unwrap_or_else(|| String::from(FEATURE));
        }
        if let Some(stat) = self.stat {
            new.stat = stat;
        }
        new.side = self.side.unwrap_or(new.side);
        new.threshold = self.threshold.unwrap_or(new.threshold);
        new.hysteresis = self.hysteresis.unwrap_or(new.hysteresis);
        new.average = self.average.unwrap_or(new.average);
        new.seconds = self.seconds.unwrap_or(new.seconds);
        new.off_seconds = self.off_seconds.unwrap_or(new.off_seconds);
        new.quiet = self.quiet.unwrap_or(new.quiet);
        new.checked(known)
    }
}

impl Definition {
    fn checked(mut self, known: &Known) -> Result<(Self, SecondColumn), Problem> {
        self.name = self.name.map(|name| checked_name(&name)).transpose()?;
        let column = self.column(known)?;
        let lengths = [("average", self.average), ("seconds", self.seconds), ("off_seconds", self.off_seconds)];
        for (field, seconds) in lengths {
            if !(1..=LONGEST).contains(&seconds) {
                return Err(Problem::bad_field(field, format!("{field} lies between 1 and {LONGEST}")));
            }
        }
        // JSON has no infinities, but numbers that become one.
        if !self.threshold.is_finite() {
            return Err(Problem::bad_field("threshold", "threshold is a finite number"));
        }
        if !(self.hysteresis.is_finite() && self.hysteresis >= 0.0) {
            return Err(Problem::bad_field("hysteresis", "hysteresis is a finite number, 0 or more"));
        }
        quiet::check(&self.quiet)?;
        Ok((self, column))
    }

    /// The column that it looks at.
    ///
    /// # Errors
    /// 400 when this version of the program has no such column.
    pub(super) fn column(&self, known: &Known) -> Result<SecondColumn, Problem> {
        SecondColumn::find(&self.feature, self.stat.as_deref(), known)
    }

    pub(super) fn rule(&self) -> Rule {
        Rule {
            side: self.side,
            threshold: self.threshold,
            hysteresis: self.hysteresis,
            average: self.average.into(),
            seconds: self.seconds.into(),
            off_seconds: self.off_seconds.into(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        // Texts and finite numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(json: &str) -> Result<Definition, Problem> {
        let new: NewAlert = serde_json::from_str(json).unwrap();
        new.definition(&Known::default()).map(|(definition, _)| definition)
    }

    #[test]
    fn a_threshold_is_enough() {
        let found = made(r#"{"sensor":"roof","threshold":-20}"#).unwrap();
        assert_eq!(
            (found.feature.as_str(), found.side, found.average, found.seconds, found.off_seconds),
            ("level.a", Side::Above, 1, 10, 10)
        );
        assert_eq!(Definition::from_text(&found.to_text()).unwrap(), found);
        let of_before = found.to_text().replace(r#""average":1,"#, "").replace(r#","since":0"#, "");
        assert!(!of_before.contains("average") && !of_before.contains("since"));
        assert_eq!(Definition::from_text(&of_before).unwrap(), found, "made before there were means");
    }

    #[test]
    fn wrong_fields_are_named() {
        let cases = [
            (r#""threshold":1,"feature":"levl.a""#, "feature"),
            (r#""threshold":1,"feature":"mel""#, "feature"),
            (r#""threshold":1,"stat":"lden""#, "stat"),
            (r#""threshold":1,"seconds":0"#, "seconds"),
            (r#""threshold":1,"seconds":3601"#, "seconds"),
            (r#""threshold":1,"off_seconds":0"#, "off_seconds"),
            (r#""threshold":1,"average":0"#, "average"),
            (r#""threshold":1,"average":3601"#, "average"),
            (r#""threshold":1,"hysteresis":-0.1"#, "hysteresis"),
            (r#""threshold":1,"name":" ""#, "name"),
            (r#""threshold":1,"quiet":[{"from":"7","to":"8"}]"#, "quiet"),
        ];
        for (fields, field) in cases {
            let problem = made(&format!(r#"{{"sensor":"roof",{fields}}}"#)).unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)), "{fields}");
        }
    }

    #[test]
    fn a_change_touches_what_is_sent_only() {
        let old = made(r#"{"sensor":"roof","threshold":1,"stat":"max","name":"Loud"}"#).unwrap();
        let change: AlertChange = serde_json::from_str(r#"{"stat":null,"seconds":5}"#).unwrap();
        let (new, _) = change.apply(&old, &Known::default()).unwrap();
        assert_eq!(new, Definition { stat: None, seconds: 5, ..old });
    }
}
