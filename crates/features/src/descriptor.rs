//! What is known of an algorithm before it runs.

use antiphon_audio::stft::StftSpec;
use serde::Serialize;

/// Every fact about one algorithm.
#[derive(Debug, Serialize)]
pub struct Descriptor {
    /// Its name, `[a-z][a-z0-9_]*`: the first part of every column (`level`).
    pub name: &'static str,
    /// Raised whenever what it returns changes.
    pub version: u32,
    /// What it belongs with (`level`, `spectral`, `loudness`, `segmentation`).
    pub family: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// What it measures, how borders are padded without a lead-in, and the measured bias of that.
    pub about: &'static str,
    /// What it yields.
    pub outputs: &'static [Output],
    /// What can be set.
    pub parameters: &'static [Parameter],
    /// The ONE reference implementation or standard.
    pub reference: &'static str,
}

/// One thing that an algorithm yields.
#[derive(Debug, Serialize)]
pub struct Output {
    /// Its name within the algorithm (`a`); empty for an algorithm with one output (`mel`).
    /// Columns are `ALGORITHM.NAME`, for vectors `ALGORITHM.NAME.N` or `ALGORITHM.N`.
    pub name: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// Series, annotation or summary, with what is stored of it.
    pub kind: Kind,
    /// Its unit (`dBFS`, `LUFS`, `1`); levels in `dBFS` read `dB` when calibrated.
    pub unit: &'static str,
    /// What each dimension of a vector is (band centres in Hz); empty for scalars.
    pub labels: &'static [&'static str],
    /// Whether it is computed when a plan names the algorithm without outputs.
    pub default: bool,
}

impl Output {
    /// Whether a song gets one value of it for the whole: it is nothing else, or a series that has one beside.
    pub fn has_summary(&self) -> bool {
        match &self.kind {
            Kind::Summary => true,
            Kind::Series(series) => series.summary,
            Kind::Annotation { .. } => false,
        }
    }
}

/// The kind of an output.
#[derive(Debug, Serialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Frames x dimensions of f32 with a hop, stored as an aggregate per second.
    Series(Series),
    /// Intervals with a type, a label, a value and a confidence.
    Annotation {
        /// The shortest that a reader shows, in µs, after joining.
        minimum: i64,
    },
    /// One value for a whole song.
    Summary,
}

/// How a series is stored and asked for.
#[derive(Debug, Serialize, PartialEq)]
pub struct Series {
    /// Values per frame; 1 for scalars.
    pub dimensions: u16,
    /// What is stored per second.
    pub aggregate: Aggregate,
    /// The layer that it is stored in: outputs of one layer are read together.
    pub layer: &'static str,
    /// The layer that holds the histogram of its frames, if one is kept: the stats `l01` to `l99`.
    pub histogram: Option<&'static str>,
    /// Names of the stats that can be asked for; the first is the default. `l01` to `l99` are written `lNN`.
    pub stats: &'static [&'static str],
    /// The frame hop, if frames can be kept.
    pub hop: Option<Hop>,
    /// Whether a song also gets one value of this output for the whole of it.
    pub summary: bool,
}

impl Kind {
    /// A series of frames that is stored as moments of each second ([`Series::frames`]).
    pub(crate) const fn frames(dimensions: u16, layer: &'static str, hop: Hop) -> Kind {
        Kind::Series(Series::frames(dimensions, layer, hop))
    }
}

impl Series {
    /// Frames stored as moments: of scalars also the smallest and largest, which vectors are too many for.
    pub(crate) const fn frames(dimensions: u16, layer: &'static str, hop: Hop) -> Series {
        Series {
            dimensions,
            aggregate: Aggregate::Moments,
            layer,
            histogram: None,
            stats: if dimensions == 1 { &["mean", "stddev", "min", "max"] } else { &["mean", "stddev"] },
            hop: Some(hop),
            summary: false,
        }
    }

    /// The layer that holds a stat (`leq`, `l90`), or `None` if this output does not store it.
    pub fn layer_of(&self, stat: &str) -> Option<&'static str> {
        if self.stats.contains(&stat) && stat != PERCENTILES {
            return Some(self.layer);
        }
        percentile(stat).and(self.histogram)
    }

    /// The stat that answers when none is named.
    pub fn default_stat(&self) -> &'static str {
        self.stats.first().copied().unwrap_or("mean")
    }
}

/// How the 99 stats `l01` to `l99` are written in a list of stats.
pub const PERCENTILES: &str = "lNN";

/// The NN of `lNN` (1 to 99): the share of time in percent.
pub fn percentile(stat: &str) -> Option<u8> {
    let digits = stat.strip_prefix('l')?;
    if digits.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&percent: &u8| percent > 0)
}

impl Descriptor {
    /// The output of that name.
    pub fn output(&self, name: &str) -> Option<&'static Output> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// The distance between its frames, if frames can be kept: all its framed outputs share one.
    pub fn hop(&self) -> Option<Hop> {
        self.series().find_map(|(_, series)| series.hop)
    }

    /// Its outputs that are series, with how they are stored.
    pub fn series(&self) -> impl Iterator<Item = (&'static Output, &'static Series)> {
        self.outputs.iter().filter_map(|output| match &output.kind {
            Kind::Series(series) => Some((output, series)),
            Kind::Annotation { .. } | Kind::Summary => None,
        })
    }
}

/// Distance between frames, in seconds, as a fraction.
#[derive(Debug, Serialize, PartialEq, Eq, Clone, Copy)]
pub struct Hop {
    /// Numerator, such as 512.
    pub samples: u32,
    /// Denominator, such as 22,050.
    pub rate: u32,
}

impl Hop {
    /// That of a transform.
    pub(crate) const fn of(spec: &StftSpec) -> Hop {
        Hop { samples: spec.hop, rate: spec.rate }
    }
}

/// What is stored per second and merged upwards.
#[derive(Debug, Serialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Energy sum with the minimum and maximum of the 125 ms levels: `leq`, `min`, `max`.
    Level,
    /// Energy sum only: `leq`.
    Energy,
    /// Sum, M2, minimum and maximum of frames: `mean`, `stddev`, `min`, `max`.
    Moments,
    /// Maximum: `max`.
    Maximum,
    /// Mean share of samples: `mean`.
    Share,
    /// 100 ms energies, from which loudness is derived.
    Loudness,
    /// 64 bytes, ten times a second; kept as they are, never merged.
    Preview,
}

/// Something that can be set.
#[derive(Debug, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Smallest value allowed.
    pub minimum: f64,
    /// Largest value allowed.
    pub maximum: f64,
    /// The value when nothing is said.
    pub default: f64,
}
