//! What people may set of a sensor, checked.

use std::str::FromStr;

use antiphon_platform::clock::Micros;
use antiphon_platform::http::{Problem, nearest};
use chrono_tz::{TZ_VARIANTS, Tz};
use serde::{Deserialize, Deserializer};
use unicode_normalization::UnicodeNormalization;

use super::rows::Sensor;
use crate::descriptors::Known;
use crate::plan::{self, Asked, Choice, History};
use crate::store::retention::Retention;

/// The longest name, in characters.
const NAME_LENGTH: usize = 200;

/// A sensor to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSensor {
    /// `[a-z0-9][a-z0-9-]{0,62}`: part of every address of its data.
    #[schema(example = "roof", pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    id: String,
    /// What people call it, at most 200 characters.
    #[schema(example = "Roof, north side")]
    name: Option<String>,
    /// Degrees north, -90 to 90.
    #[schema(example = 52.52)]
    latitude: Option<f64>,
    /// Degrees east, -180 to 180.
    #[schema(example = 13.4)]
    longitude: Option<f64>,
    /// The IANA zone whose days count for it; UTC without one.
    #[schema(example = "Europe/Berlin")]
    timezone: Option<String>,
    /// The level of a full-scale mean square of 1 in dB re 20 µPa; without it levels are dBFS.
    calibration: Option<f64>,
    /// What its audio is analysed by: a set such as `soundscape`, or a list of algorithms; the set `default` without it.
    plan: Option<Asked>,
    /// How long what is kept.
    retention: Option<Retention>,
}

/// What to change of a sensor: fields that are not sent stay, null takes a field away or back to its default.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SensorChange {
    /// What people call it, at most 200 characters.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    name: Option<Option<String>>,
    /// Degrees north, -90 to 90.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<f64>)]
    latitude: Option<Option<f64>>,
    /// Degrees east, -180 to 180.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<f64>)]
    longitude: Option<Option<f64>>,
    /// The IANA zone whose days count for it.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    timezone: Option<Option<String>>,
    /// The level of a full-scale mean square of 1 in dB re 20 µPa; counts for audio that was heard from now on, and for all
    /// audio while none has come.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<f64>)]
    calibration: Option<Option<f64>>,
    /// What its audio is analysed by: a set such as `soundscape`, or a list of algorithms. Counts as `calibration` does.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<Asked>)]
    plan: Option<Option<Asked>>,
    /// How long what is kept.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<Retention>)]
    retention: Option<Option<Retention>>,
}

/// Tells null from nothing: what is sent is `Some`, null included.
///
/// # Errors
/// Those of the value.
pub(crate) fn sent<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl NewSensor {
    /// The id asked for, not yet checked.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The sensor that this asks for, made at `now`. If one of that id was deleted, its plans go on; `heard` as in
    /// [`SensorChange::apply`].
    pub(super) fn into_sensor(
        self,
        now: Micros,
        deleted: Option<Sensor>,
        heard: bool,
        known: &Known,
    ) -> Result<Sensor, Problem> {
        check_id(&self.id)?;
        let algorithms = choices(self.plan)?;
        check_plan(&algorithms, self.calibration, known)?;
        let plans = match deleted {
            Some(deleted) => {
                let mut plans = deleted.plans;
                change_plans(&mut plans, now, heard, algorithms, self.calibration);
                plans
            }
            None => History::new(algorithms, self.calibration),
        };
        let retention = self.retention.unwrap_or_default();
        retention.check()?;
        Ok(Sensor {
            name: self.name.map(|name| checked_name(&name)).transpose()?,
            latitude: checked_degrees("latitude", self.latitude, 90.0)?,
            longitude: checked_degrees("longitude", self.longitude, 180.0)?,
            timezone: self.timezone.map(|zone| checked_timezone(&zone)).transpose()?,
            plans,
            retention,
            created_at: now,
            deleted_at: None,
            id: self.id,
        })
    }
}

impl SensorChange {
    /// Changes a sensor at `now`; `heard` says whether any audio of it ever came.
    pub(super) fn apply(self, sensor: &mut Sensor, now: Micros, heard: bool, known: &Known) -> Result<(), Problem> {
        if let Some(name) = self.name {
            sensor.name = name.map(|name| checked_name(&name)).transpose()?;
        }
        if let Some(latitude) = self.latitude {
            sensor.latitude = checked_degrees("latitude", latitude, 90.0)?;
        }
        if let Some(longitude) = self.longitude {
            sensor.longitude = checked_degrees("longitude", longitude, 180.0)?;
        }
        if let Some(timezone) = self.timezone {
            sensor.timezone = timezone.map(|zone| checked_timezone(&zone)).transpose()?;
        }
        if let Some(retention) = self.retention {
            sensor.retention = retention.unwrap_or_default();
            sensor.retention.check()?;
        }
        let current = sensor.plans.current();
        let algorithms = match self.plan {
            Some(plan) => choices(plan)?,
            None => current.algorithms.clone(),
        };
        let calibration = self.calibration.unwrap_or(current.calibration);
        check_plan(&algorithms, calibration, known)?;
        change_plans(&mut sensor.plans, now, heard, algorithms, calibration);
        Ok(())
    }
}

/// Audio is analysed as its time was. Before any has come there is no such time: who adds a sensor, sets it up, and then
/// sends last night's files means those too.
fn change_plans(plans: &mut History, now: Micros, heard: bool, algorithms: Vec<Choice>, calibration: Option<f64>) {
    if heard {
        plans.change(now, algorithms, calibration);
    } else {
        plans.begin(algorithms, calibration);
    }
}

/// Refuses what is no id of a sensor.
///
/// # Errors
/// 400, saying what one is.
pub fn check_id(id: &str) -> Result<(), Problem> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = (1..=63).contains(&id.len())
        && id.bytes().all(|byte| letter(byte) || byte == b'-')
        && id.as_bytes().first().is_some_and(|first| letter(*first));
    if good {
        return Ok(());
    }
    Err(Problem::bad_field("id", "a sensor's id is 1 to 63 of a-z, 0-9 and -, and does not begin with -"))
}

/// What is asked for, or else the set that sensors have.
fn choices(asked: Option<Asked>) -> Result<Vec<Choice>, Problem> {
    Ok(asked.map(Asked::choices).transpose()?.unwrap_or_else(plan::sensor_default))
}

fn check_plan(algorithms: &[Choice], calibration: Option<f64>, known: &Known) -> Result<(), Problem> {
    plan::check(algorithms, known)?;
    if let Some(calibration) = calibration {
        plan::check_calibration(calibration)?;
    }
    Ok(())
}

/// A name as people give it, trimmed and in one Unicode form.
///
/// # Errors
/// 400 that names `name`.
pub(crate) fn checked_name(name: &str) -> Result<String, Problem> {
    let name: String = name.trim().nfc().take(NAME_LENGTH + 1).collect();
    let length = name.chars().count();
    if !(1..=NAME_LENGTH).contains(&length) || name.chars().any(char::is_control) {
        let detail = format!("a name has 1 to {NAME_LENGTH} characters, none of them control characters");
        return Err(Problem::bad_field("name", detail));
    }
    Ok(name)
}

fn checked_degrees(field: &str, degrees: Option<f64>, limit: f64) -> Result<Option<f64>, Problem> {
    match degrees {
        Some(degrees) if !(-limit..=limit).contains(&degrees) => {
            Err(Problem::bad_field(field, format!("{field} lies between -{limit} and {limit} degrees")))
        }
        degrees => Ok(degrees),
    }
}

fn checked_timezone(zone: &str) -> Result<String, Problem> {
    match Tz::from_str(zone) {
        Ok(zone) => Ok(zone.name().to_owned()),
        Err(_) => {
            let hint = nearest(zone, TZ_VARIANTS.iter().map(|zone| zone.name()));
            let shown: String = zone.chars().take(100).collect();
            Err(Problem::bad_field("timezone", format!("{shown:?} is no IANA time zone")).hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(json: &str) -> Result<Sensor, Problem> {
        serde_json::from_str::<NewSensor>(json).unwrap().into_sensor(7, None, false, &Known::default())
    }

    fn refused(json: &str) -> (Option<String>, Option<String>) {
        let problem = make(json).unwrap_err();
        assert_eq!(problem.status, 400, "{json}");
        (problem.field, problem.hint)
    }

    #[test]
    fn a_sensor_needs_an_id_only() {
        let sensor = make(r#"{"id":"roof"}"#).unwrap();
        assert_eq!((sensor.id.as_str(), sensor.created_at, sensor.plans.current().version), ("roof", 7, 1));
        assert_eq!(make(r#"{"id":"0-9","name":" Zu\u0308rich "}"#).unwrap().name.as_deref(), Some("Zürich"));
    }

    #[test]
    fn wrong_fields_are_named() {
        for id in ["", "-a", "Roof", "a_b", "ä", "a/b", &"a".repeat(64)] {
            assert_eq!(refused(&format!(r#"{{"id":"{id}"}}"#)).0.as_deref(), Some("id"), "{id}");
        }
        assert!(make(&format!(r#"{{"id":"{}"}}"#, "a".repeat(63))).is_ok());
        let cases = [
            (r#"{"id":"a","latitude":90.1}"#, "latitude"),
            (r#"{"id":"a","longitude":-181}"#, "longitude"),
            (r#"{"id":"a","name":"  "}"#, "name"),
            (r#"{"id":"a","name":"a\u0007"}"#, "name"),
            (r#"{"id":"a","calibration":1e9}"#, "calibration"),
            (r#"{"id":"a","plan":[]}"#, "plan"),
            (r#"{"id":"a","plan":""}"#, "plan"),
        ];
        for (json, field) in cases {
            assert_eq!(refused(json).0.as_deref(), Some(field), "{json}");
        }
        let (field, hint) = refused(r#"{"id":"a","plan":"soundscpae"}"#);
        assert_eq!((field.as_deref(), hint.as_deref()), (Some("plan"), Some("soundscape")));
        let (field, hint) = refused(r#"{"id":"a","timezone":"Europe/Berln"}"#);
        assert_eq!((field.as_deref(), hint.as_deref()), (Some("timezone"), Some("Europe/Berlin")));
    }

    #[test]
    fn a_change_touches_what_is_sent_only() {
        let mut sensor = make(r#"{"id":"a","name":"A","latitude":1,"timezone":"Europe/Paris"}"#).unwrap();
        let change = |json: &str| serde_json::from_str::<SensorChange>(json).unwrap();
        change(r#"{"name":null,"longitude":2}"#).apply(&mut sensor, 9, true, &Known::default()).unwrap();
        assert_eq!((sensor.name.as_deref(), sensor.latitude, sensor.longitude), (None, Some(1.0), Some(2.0)));
        assert_eq!(sensor.plans.current().version, 1, "the plan did not change");
        change(r#"{"calibration":94}"#).apply(&mut sensor, 10, true, &Known::default()).unwrap();
        change(r#"{"plan":[{"algorithm":"level"}]}"#).apply(&mut sensor, 11, true, &Known::default()).unwrap();
        let plan = sensor.plans.current();
        assert_eq!((plan.version, plan.calibration, plan.algorithms.len(), plan.from), (3, Some(94.0), 1, 11));
        change(r#"{"plan":"level-only"}"#).apply(&mut sensor, 12, true, &Known::default()).unwrap();
        assert_eq!(sensor.plans.current().version, 3, "the same plan by another name");
        change(r#"{"plan":null,"calibration":null}"#).apply(&mut sensor, 12, true, &Known::default()).unwrap();
        assert_eq!(sensor.plans.current().algorithms, plan::sensor_default());
    }

    #[test]
    fn a_sensor_that_is_made_again_goes_on_with_its_plans() {
        let mut old = make(r#"{"id":"a","calibration":94}"#).unwrap();
        old.deleted_at = Some(8);
        let new = serde_json::from_str::<NewSensor>(r#"{"id":"a"}"#)
            .unwrap()
            .into_sensor(9, Some(old), true, &Known::default())
            .unwrap();
        assert_eq!((new.plans.current().version, new.plans.at(8).calibration, new.deleted_at), (2, Some(94.0), None));
    }
}
