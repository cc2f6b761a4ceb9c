//! What is computed of a source's audio, and how that travels to the workers.

mod asked;

use antiphon_features::FeatureError;
use antiphon_features::descriptor::Output;
use antiphon_features::session::Item;
use antiphon_platform::clock::Micros;
use antiphon_platform::http::Problem;
use serde::{Deserialize, Serialize};

use crate::descriptors::{Known, group_of};
use crate::messages;
use crate::topics::{ANALYZE, ANALYZE_SONGS};

pub use asked::{Asked, SETTINGS, named, of_songs, sensor_default, set_of, song_default};

/// Versions of a sensor's plan that are remembered; a recording older than all of them takes the oldest.
const REMEMBERED_VERSIONS: usize = 100;

/// Calibrations are refused outside of ± this many dB: no microphone chain lies there, a slipped digit does.
const CALIBRATION_LIMIT: f64 = 400.0;

/// One algorithm of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The algorithm's name, such as `level`.
    pub algorithm: String,
    /// Names of the outputs to compute; empty: the algorithm's default outputs.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Parameters that differ from their defaults.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Whether frames are kept as well as the values of each second.
    #[serde(default)]
    pub frames: bool,
}

/// One version of a sensor's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Raised by one with every change.
    pub version: u32,
    /// From when on it is valid, µs since 1970; the first one is valid always.
    pub from: Micros,
    /// The level of a full-scale mean square of 1 in dB re 20 µPa, or `None` for an uncalibrated sensor.
    pub calibration: Option<f64>,
    /// What to compute.
    pub algorithms: Vec<Choice>,
}

/// The plan of a sensor over time: a recording takes the version that was valid at its start, so that audio
/// which waited in a sensor's spool is analysed as its time was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History(Vec<Version>);

/// A plan that cannot be stored or followed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It names something that the registry does not have.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// The same algorithm twice.
    #[error("{0} is named twice; name it once with all its outputs")]
    Repeated(String),
    /// Frames of a foreign algorithm.
    #[error("{0} belongs to a foreign group, and of those no frames are kept; leave frames out")]
    NoFrames(String),
    /// No algorithm at all.
    #[error("a plan needs at least one algorithm")]
    Empty,
    /// A calibration that no microphone has.
    #[error("a calibration lies between -{CALIBRATION_LIMIT} and {CALIBRATION_LIMIT} dB, not at {0}")]
    Calibration(f64),
    /// Stored or received text that is no plan.
    #[error("the plan cannot be read: {0}")]
    Unreadable(String),
}

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        let field = if matches!(error, PlanError::Calibration(_)) { "calibration" } else { "plan" };
        let hint = match &error {
            PlanError::Feature(
                FeatureError::UnknownAlgorithm { nearest, .. }
                | FeatureError::UnknownName { nearest, .. }
                | FeatureError::UnknownOutput { nearest, .. },
            ) => Some(*nearest),
            PlanError::Feature(FeatureError::UnknownParameter { nearest, .. }) => *nearest,
            _ => None,
        };
        Self::bad_field(field, error.to_string()).hint(hint)
    }
}

impl Choice {
    fn item(&self) -> Item {
        Item {
            algorithm: self.algorithm.clone(),
            outputs: self.outputs.clone(),
            parameters: self.parameters.clone(),
            frames: self.frames,
        }
    }
}

impl From<Item> for Choice {
    fn from(item: Item) -> Self {
        let Item { algorithm, outputs, parameters, frames } = item;
        Self { algorithm, outputs, parameters, frames }
    }
}

/// What the message of a song carries: the plan of songs and its version.
#[must_use]
pub fn of_song(version: u32, algorithms: &[Choice]) -> messages::Plan {
    message(version, algorithms, None, ANALYZE_SONGS.name)
}

/// Checks a plan against the algorithms that there are.
///
/// # Errors
/// What is wrong with it, with the nearest name where a name is wrong.
pub fn check(algorithms: &[Choice], known: &Known) -> Result<(), PlanError> {
    if algorithms.is_empty() {
        return Err(PlanError::Empty);
    }
    for (index, choice) in algorithms.iter().enumerate() {
        let name = &choice.algorithm;
        let descriptor = known.find(name).ok_or_else(|| FeatureError::UnknownAlgorithm {
            name: name.clone(),
            nearest: antiphon_features::nearest(name, known.newest().map(|found| found.name)).unwrap_or_default(),
        })?;
        antiphon_features::validate_with(descriptor, &choice.item(), None)?;
        if choice.frames && group_of(name).is_some() {
            return Err(PlanError::NoFrames(name.clone()));
        }
        if algorithms[..index].iter().any(|earlier| earlier.algorithm == choice.algorithm) {
            return Err(PlanError::Repeated(choice.algorithm.clone()));
        }
    }
    Ok(())
}

/// Checks a calibration in dB re 20 µPa.
///
/// # Errors
/// [`PlanError::Calibration`] outside of ±400 dB.
pub fn check_calibration(decibel: f64) -> Result<(), PlanError> {
    if decibel.abs() <= CALIBRATION_LIMIT { Ok(()) } else { Err(PlanError::Calibration(decibel)) }
}

impl History {
    /// The plan of a new sensor, version 1.
    #[must_use]
    pub fn new(algorithms: Vec<Choice>, calibration: Option<f64>) -> Self {
        Self(vec![Version { version: 1, from: Micros::MIN, calibration, algorithms }])
    }

    /// Reads the stored text.
    ///
    /// # Errors
    /// [`PlanError::Unreadable`] for text that [`to_text`](Self::to_text) did not write.
    pub fn from_text(text: &str) -> Result<Self, PlanError> {
        let history: Self = serde_json::from_str(text).map_err(|error| PlanError::Unreadable(error.to_string()))?;
        if history.0.is_empty() {
            return Err(PlanError::Unreadable(String::from("it has no version")));
        }
        Ok(history)
    }

    /// The text to store.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// The newest version.
    #[must_use]
    pub fn current(&self) -> &Version {
        &self.0[self.0.len() - 1]
    }

    /// The version valid at `time`, µs since 1970.
    #[must_use]
    pub fn at(&self, time: Micros) -> &Version {
        self.0.iter().rev().find(|version| version.from <= time).unwrap_or(&self.0[0])
    }

    /// Takes a version that is valid always, for nothing was analysed by those before it.
    pub fn begin(&mut self, algorithms: Vec<Choice>, calibration: Option<f64>) {
        self.change(Micros::MIN, algorithms, calibration);
        self.0.drain(..self.0.len() - 1);
    }

    /// Adds a version that is valid from `now` on; the same plan again changes nothing.
    pub fn change(&mut self, now: Micros, algorithms: Vec<Choice>, calibration: Option<f64>) {
        let current = self.current();
        if current.algorithms == algorithms && current.calibration == calibration {
            return;
        }
        let version = current.version.saturating_add(1);
        self.0.push(Version { version, from: now, calibration, algorithms });
        if self.0.len() > REMEMBERED_VERSIONS {
            self.0.remove(0);
        }
    }
}

impl Version {
    /// Whether it has an output of an algorithm computed.
    #[must_use]
    pub fn computes(&self, algorithm: &str, output: &Output) -> bool {
        self.algorithms.iter().find(|choice| choice.algorithm == algorithm).is_some_and(|choice| {
            if choice.outputs.is_empty() {
                output.default
            } else {
                choice.outputs.iter().any(|name| name == output.name)
            }
        })
    }

    /// What a message carries of it.
    #[must_use]
    pub fn to_message(&self) -> messages::Plan {
        message(self.version, &self.algorithms, self.calibration, ANALYZE.name)
    }
}

fn message(version: u32, algorithms: &[Choice], calibration_db: Option<f64>, group: &str) -> messages::Plan {
    let items = algorithms
        .iter()
        .map(|choice| messages::PlanItem {
            algorithm: choice.algorithm.clone(),
            version: antiphon_features::find(&choice.algorithm).map_or(0, |descriptor| descriptor.version),
            outputs: choice.outputs.clone(),
            parameters: if choice.parameters.is_empty() {
                String::new()
            } else {
                serde_json::json!(choice.parameters).to_string()
            },
            frames: choice.frames,
        })
        .collect();
    let mut foreign: Vec<&str> = algorithms.iter().filter_map(|choice| group_of(&choice.algorithm)).collect();
    foreign.sort_unstable();
    foreign.dedup();
    let groups = std::iter::once(group).chain(foreign).map(str::to_owned).collect();
    messages::Plan { version, groups, items, calibration_db }
}

/// The items that a worker of ours runs: those of the registry. Foreign groups do theirs.
///
/// # Errors
/// A plan that this build cannot follow: unknown names, another version of an algorithm, unreadable parameters.
pub fn items(plan: &messages::Plan) -> Result<Vec<Item>, PlanError> {
    plan.items
        .iter()
        .filter(|item| group_of(&item.algorithm).is_none())
        .map(|item| {
            let parameters = if item.parameters.is_empty() {
                serde_json::Map::new()
            } else {
                serde_json::from_str(&item.parameters).map_err(|error| PlanError::Unreadable(error.to_string()))?
            };
            let wanted = Item {
                algorithm: item.algorithm.clone(),
                outputs: item.outputs.clone(),
                parameters,
                frames: item.frames,
            };
            antiphon_features::validate(&wanted, Some(item.version).filter(|version| *version != 0))?;
            Ok(wanted)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(names: &str) -> Vec<Choice> {
        named(names).unwrap()
    }

    fn choice(algorithm: &str, output: &str) -> Choice {
        Item { algorithm: algorithm.to_owned(), outputs: vec![output.to_owned()], ..Item::default() }.into()
    }

    #[test]
    fn the_message_of_a_song_names_versions_and_its_group() {
        let song = of_song(7, &song_default());
        assert_eq!((items(&song).unwrap().len(), song.version), (song_default().len(), 7));
        assert_eq!(song.groups, ["analyze-songs"]);
        assert!(song.items.iter().all(|item| item.version > 0 && !item.frames));
    }

    #[test]
    fn a_wrong_name_is_told_the_nearest() {
        let problem = Problem::from(check(&[choice("levle", "a")], &Known::default()).unwrap_err());
        assert_eq!((problem.status, problem.hint.as_deref()), (400, Some("level")));
        let problem = Problem::from(check(&[choice("mel", "preveiw")], &Known::default()).unwrap_err());
        assert_eq!((problem.status, problem.hint.as_deref()), (400, Some("preview")));
        let twice = [choice("level", "a"), choice("level", "c")];
        assert!(matches!(check(&twice, &Known::default()), Err(PlanError::Repeated(_))));
        assert!(matches!(check(&[], &Known::default()), Err(PlanError::Empty)));
        assert!(check_calibration(f64::NAN).is_err());
        assert!(check_calibration(-120.5).is_ok());
    }

    #[test]
    fn a_recording_takes_the_plan_of_its_time() {
        let mut history = History::new(sensor_default(), None);
        history.change(1_000, only("level.a"), None);
        history.change(1_000, only("level.a"), None);
        history.change(2_000, only("level.a"), Some(94.0));
        let history = History::from_text(&history.to_text()).unwrap();
        assert_eq!([0, 999, 1_000, 1_999, 2_000].map(|time| history.at(time).version), [1, 1, 2, 2, 3]);
        assert_eq!(history.current().to_message().calibration_db, Some(94.0));
    }

    #[test]
    fn before_anything_is_heard_the_last_plan_is_that_of_all_time() {
        let mut history = History::new(sensor_default(), None);
        history.change(1_000, only("level.a"), None);
        history.begin(only("level.a"), Some(94.0));
        history.begin(only("level.a"), Some(94.0));
        assert_eq!((history.at(0).version, history.at(0).calibration, history.0.len()), (3, Some(94.0), 1));
        history.change(2_000, only("level.a"), Some(95.0));
        assert_eq!([0, 1_999, 2_000].map(|time| history.at(time).version), [3, 3, 4]);
    }

    #[test]
    fn the_history_is_bounded_and_its_oldest_version_serves_all_before() {
        let mut history = History::new(sensor_default(), None);
        for change in 1..=300_i32 {
            history.change(i64::from(change), sensor_default(), Some(f64::from(change)));
        }
        assert_eq!(history.0.len(), REMEMBERED_VERSIONS);
        assert_eq!(history.current().version, 301);
        assert_eq!(history.at(0).version, 202);
        assert!(History::from_text("[]").is_err());
    }

    #[test]
    fn a_plan_for_another_version_of_an_algorithm_is_not_followed() {
        let mut plan = of_song(1, &song_default());
        plan.items[0].version += 1;
        assert!(matches!(items(&plan), Err(PlanError::Feature(FeatureError::WrongVersion { .. }))));
        plan.items[0].version = 0;
        plan.items[0].parameters = String::from("no json");
        assert!(matches!(items(&plan), Err(PlanError::Unreadable(_))));
    }
}
