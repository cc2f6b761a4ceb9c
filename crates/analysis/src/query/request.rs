//! What a range query asks for.

use antiphon_platform::clock::Micros;
use antiphon_platform::http::{Params, Problem, nearest, time};
use antiphon_tables::seconds;
use chrono_tz::Tz;

use super::noise;
use super::select::{self, Feature};
use crate::descriptors::Known;
use crate::store::{Resolution, SourceKind};

/// The parameters of the range query of sensors.
pub(super) const SENSOR_PARAMETERS: &[&str] = &[
    "from",
    "to",
    "features",
    "resolution",
    "stat",
    "fill",
    "tz",
    "versions",
    "revision",
    "format",
    "limit",
    "cursor",
];

/// Those of songs: they have no local time.
pub(super) const SONG_PARAMETERS: &[&str] =
    &["from", "to", "features", "resolution", "stat", "fill", "versions", "revision", "format", "limit", "cursor"];

/// The latest end of a range of a song, in seconds.
const SONG_LIMIT: u32 = 1_000_000_000;

/// The resolution that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Every frame.
    Frame,
    /// Cells of this length.
    Cells(Resolution),
    /// The finest with at most 2,000 rows.
    Auto,
}

/// What becomes of buckets without audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// They have no row.
    Nothing,
    /// They have a row of nulls.
    Gaps,
}

/// Which versions of an algorithm are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    /// The newest, and older ones where only they are known.
    Newest,
    /// All of them, whole.
    All,
}

/// A range query, but for how it is paged and written.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) kind: SourceKind,
    pub(super) source: String,
    pub(super) from: Micros,
    /// `None` for a song: to its end.
    pub(super) to: Option<Micros>,
    pub(super) features: Vec<Feature>,
    pub(super) stats: Option<Vec<String>>,
    pub(super) resolution: Asked,
    pub(super) zone: Tz,
    pub(super) fill: Fill,
    pub(super) versions: Versions,
}

impl Request {
    /// Reads a query string as `GET .../features` does, which may name the algorithms of the registry.
    ///
    /// # Errors
    /// 400 that names the parameter, with the nearest name where a name is wrong.
    pub fn parse(kind: SourceKind, source: &str, query: Option<&str>) -> Result<Self, Problem> {
        Self::from_params(kind, source, &Params::parse(query, known(kind))?, &Known::default())
    }

    pub(super) fn from_params(kind: SourceKind, source: &str, params: &Params, known: &Known) -> Result<Self, Problem> {
        let (from, to) = range(kind, params)?;
        let features = select::features(params.list("features")?.as_deref(), known)?;
        let stats = params.list("stat")?;
        let resolution = resolution(params)?;
        let features = match resolution {
            Asked::Frame => framed(&features, stats.as_deref())?,
            Asked::Cells(_) | Asked::Auto => {
                select::stats(&features, stats.as_deref())?;
                features
            }
        };
        if let Some(stat) = stats.iter().flatten().find(|stat| noise::is_noise(stat)) {
            check_days(kind, resolution, stat)?;
        }
        let fill = match params.choice("fill", &["gaps"])? {
            Some(_) => Fill::Gaps,
            None => Fill::Nothing,
        };
        let versions = match params.choice("versions", &["all"])? {
            Some(_) => Versions::All,
            None => Versions::Newest,
        };
        let stats = stats.map(|stats| stats.into_iter().map(str::to_owned).collect());
        let zone = zone(params)?;
        Ok(Self { kind, source: source.to_owned(), from, to, features, stats, resolution, zone, fill, versions })
    }

    /// Whether a stat is asked for that only days have.
    pub(super) fn asks_for_days(&self) -> bool {
        self.stats.iter().flatten().any(|stat| noise::is_noise(stat))
    }
}

/// Refuses noise indicators of anything but days.
fn check_days(kind: SourceKind, resolution: Asked, stat: &str) -> Result<(), Problem> {
    if kind == SourceKind::Song {
        return Err(Problem::bad_field("stat", format!("{stat} is of days, evenings and nights; a song has none")));
    }
    if matches!(resolution, Asked::Auto | Asked::Cells(Resolution::Day)) {
        return Ok(());
    }
    let detail = format!("{stat} is of whole days, which begin at midnight of tz; ask for it at resolution=1d");
    Err(Problem::bad_field("resolution", detail).hint(Some("1d")))
}

/// The parameters that the range query of a kind of source knows.
pub(super) fn known(kind: SourceKind) -> &'static [&'static str] {
    match kind {
        SourceKind::Sensor => SENSOR_PARAMETERS,
        SourceKind::Song => SONG_PARAMETERS,
    }
}

/// The range: times for a sensor, seconds for a song, where both ends may be left out.
pub(super) fn range(kind: SourceKind, params: &Params) -> Result<(Micros, Option<Micros>), Problem> {
    match kind {
        SourceKind::Sensor => params.time_range().map(|(from, to)| (from, Some(to))),
        SourceKind::Song => {
            let from = params.seconds("from", 0..=SONG_LIMIT)?.unwrap_or(0);
            let to = params.seconds("to", 0..=SONG_LIMIT)?;
            match to {
                Some(to) if from >= to => Err(Problem::bad_field("from", "from must be before to")),
                _ => Ok((from, to)),
            }
        }
    }
}

fn framed(features: &[Feature], stats: Option<&[&str]>) -> Result<Vec<Feature>, Problem> {
    if stats.is_some() {
        return Err(Problem::bad_field(
            "stat",
            "frames are values of their own; stat has no meaning at resolution=frame",
        ));
    }
    let features = select::framed(features);
    select::common_hop(&features)?;
    Ok(features)
}

fn resolution(params: &Params) -> Result<Asked, Problem> {
    let names = Resolution::ALL.map(Resolution::name);
    let choices: Vec<&str> = ["auto", "frame"].into_iter().chain(names).collect();
    Ok(match params.choice("resolution", &choices)? {
        None | Some("auto") => Asked::Auto,
        Some("frame") => Asked::Frame,
        Some(name) => {
            Resolution::ALL.into_iter().find(|resolution| resolution.name() == name).map_or(Asked::Auto, Asked::Cells)
        }
    })
}

fn zone(params: &Params) -> Result<Tz, Problem> {
    let Some(name) = params.get("tz") else { return Ok(Tz::UTC) };
    name.parse().map_err(|_| {
        let shown: String = name.chars().take(100).collect();
        let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        Problem::bad_field("tz", format!("{shown:?} is no zone of the IANA time zone database"))
            .hint(nearest(name, names))
    })
}

/// How a time or a number of seconds is written in an answer.
pub(super) fn write_time(kind: SourceKind, time: Micros) -> String {
    match kind {
        SourceKind::Sensor => time::format(time),
        SourceKind::Song => seconds(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: &str = "from=2026-05-01T00:00:00Z&to=2026-05-01T01:00:00Z";

    fn refusal(query: &str) -> (u16, Option<String>, Option<String>) {
        let problem = Request::parse(SourceKind::Sensor, "roof", Some(query)).unwrap_err();
        (problem.status, problem.field, problem.hint)
    }

    #[test]
    fn wrong_parameters_are_named() {
        let cases: [(&str, &str, Option<&str>); 17] = [
            ("to=2026-05-01T01:00:00Z", "from", None),
            ("from=2026-05-01T01:00:00Z", "to", None),
            ("from=2026-05-01T01:00:00&to=2026-05-01T02:00:00Z", "from", None),
            ("from=2026-05-01T01:00:00Z&to=2026-05-01T01:00:00Z", "from", None),
            (&format!("{RANGE}&resolution=1min"), "resolution", Some("1m")),
            (&format!("{RANGE}&stat=l9O"), "stat", None),
            (&format!("{RANGE}&features=levle"), "features", Some("level")),
            (&format!("{RANGE}&stat=leq,lden&resolution=1h"), "resolution", Some("1d")),
            (&format!("{RANGE}&stat=levning"), "stat", Some("levening")),
            (&format!("{RANGE}&stat=lden&features=level.c"), "stat", None),
            (&format!("{RANGE}&features="), "features", None),
            (&format!("{RANGE}&fill=gap"), "fill", Some("gaps")),
            (&format!("{RANGE}&versions=newest"), "versions", None),
            (&format!("{RANGE}&tz=Europe/Berln"), "tz", Some("Europe/Berlin")),
            (&format!("{RANGE}&resolutoin=1m"), "resolutoin", Some("resolution")),
            (&format!("{RANGE}&resolution=frame&stat=leq"), "stat", None),
            (&format!("{RANGE}&resolution=frame&features=level,mel"), "features", None),
        ];
        for (query, field, hint) in cases {
            let (status, named, hinted) = refusal(query);
            assert_eq!((status, named.as_deref()), (400, Some(field)), "{query}");
            if hint.is_some() {
                assert_eq!(hinted.as_deref(), hint, "{query}");
            }
        }
    }

    #[test]
    fn songs_count_in_seconds_and_have_no_zone() {
        let song = |query: &str| Request::parse(SourceKind::Song, "s", Some(query));
        let whole = song("").unwrap();
        assert_eq!((whole.from, whole.to), (0, None));
        let part = song("from=1.5&to=2.000001").unwrap();
        assert_eq!((part.from, part.to), (1_500_000, Some(2_000_001)));
        assert_eq!(song("stat=lden").unwrap_err().field.as_deref(), Some("stat"));
        assert!(song("from=2&to=1").is_err() && song("from=-1").is_err() && song("tz=UTC").is_err());
    }
}
