//! Plans as people write them: by the name of a set, or item by item.

use std::fmt;

use antiphon_features::sets::{self, SETS};
use antiphon_platform::config::{Config, ConfigError, Kind, Setting};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Choice, PlanError};

/// The set that new sensors have.
const OF_SENSORS: &str = "default";

/// The set that songs have when nothing is set.
const OF_SONGS: &str = "music";

/// How songs are analysed.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "songs.plan",
        kind: Kind::Text,
        default: OF_SONGS,
        secret: false,
        help: "what songs are analysed by: sets, algorithms and outputs, with commas between (`antiphon plans`)",
    },
    Setting {
        key: "songs.reanalyze_at_once",
        kind: Kind::Integer(0, 1_000),
        default: "4",
        secret: false,
        help: "songs in the queue at once to be analysed again, because their results are of an older plan; 0: never any",
    },
];

/// A plan as it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Asked {
    /// Sets (`voice`), algorithms and outputs, with commas between. What they stand for is written into the plan: a
    /// later version, whose sets may have more, changes nothing of it.
    #[schema(example = "soundscape")]
    Names(String),
    /// Algorithm by algorithm.
    Choices(Vec<Choice>),
}

impl Asked {
    /// What is to be computed. Names are checked, choices are not yet.
    ///
    /// # Errors
    /// For a name that is no set, algorithm or output, with the nearest.
    pub fn choices(self) -> Result<Vec<Choice>, PlanError> {
        match self {
            Self::Names(names) => named(&names),
            Self::Choices(choices) => Ok(choices),
        }
    }
}

// By hand, because of an untagged enum serde says no more than that nothing fits.
impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Asked;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a set, or a list of algorithms")
            }

            fn visit_str<E: de::Error>(self, names: &str) -> Result<Asked, E> {
                Ok(Asked::Names(names.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, choices: A) -> Result<Asked, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(choices)).map(Asked::Choices)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The plan behind a list of names.
///
/// # Errors
/// For a name that is no set, algorithm or output, with the nearest.
pub fn named(names: &str) -> Result<Vec<Choice>, PlanError> {
    Ok(sets::items(names)?.into_iter().map(Choice::from).collect())
}

/// What a new sensor's audio is analysed by: the set `default`.
#[must_use]
pub fn sensor_default() -> Vec<Choice> {
    of_set(OF_SENSORS)
}

/// What songs are analysed by when nothing is set: the set `music`.
#[must_use]
pub fn song_default() -> Vec<Choice> {
    of_set(OF_SONGS)
}

/// What songs are to be analysed by, as `songs.plan` says.
///
/// # Errors
/// For a name that is no set, algorithm or output, with the nearest.
pub fn of_songs(config: &Config) -> Result<Vec<Choice>, ConfigError> {
    let Some(names) = config.text("songs.plan")? else { return Ok(song_default()) };
    let origin = config.origin("songs.plan")?;
    named(&names).map_err(|error| ConfigError::from(format!("{origin}: songs.plan: {error}")))
}

fn of_set(name: &str) -> Vec<Choice> {
    sets::find_set(name).into_iter().flat_map(sets::Set::to_items).map(Choice::from).collect()
}

/// The set that a plan is in this build, if it is one.
#[must_use]
pub fn set_of(plan: &[Choice]) -> Option<&'static str> {
    SETS.iter().find(|set| of_set(set.name) == plan).map(|set| set.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptors::Known;
    use crate::plan::check;

    fn asked(json: &str) -> Result<Asked, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_plan_is_a_name_or_a_list() {
        let level = asked(r#""level-only""#).unwrap().choices().unwrap();
        assert_eq!(level, asked(r#"[{"algorithm":"level"}]"#).unwrap().choices().unwrap());
        assert_eq!(set_of(&level), Some("level-only"));
        assert_eq!(set_of(&asked(r#""level.a""#).unwrap().choices().unwrap()), None);
        let said = asked("7").unwrap_err().to_string();
        assert!(said.contains("the name of a set, or a list"), "{said}");
        let said = asked(r#"[{"algorithms":"level"}]"#).unwrap_err().to_string();
        assert!(said.contains("unknown field `algorithms`"), "{said}");
        let wrong = asked(r#""voise""#).unwrap().choices().unwrap_err();
        let problem = antiphon_platform::http::Problem::from(wrong);
        assert_eq!((problem.field.as_deref(), problem.hint.as_deref()), (Some("plan"), Some("voice")));
    }

    #[test]
    fn every_set_is_a_plan() {
        for set in SETS {
            check(&of_set(set.name), &Known::default()).unwrap();
            assert_eq!(set_of(&of_set(set.name)), Some(set.name));
        }
        assert!(!sensor_default().is_empty() && !song_default().is_empty());
    }
}
