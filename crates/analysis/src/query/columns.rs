//! The columns of an answer, and the layers that they are read from.

use antiphon_features::cells::{FRAMES, Layer};
use antiphon_features::descriptor::{Kind, Output};
use antiphon_platform::clock::Micros;
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::Problem;

use super::noise;
use super::request::{Request, Versions};
use super::select::{self, Feature};
use crate::sensors;
use crate::store::{self, LayerKind, LayerRow, Resolution, SourceKind};

/// A column of the answer, beside `time` and `coverage`.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name: `level.a`, `level.a@1:l90`, `mel.17`.
    pub name: String,
    /// The algorithm's name.
    pub feature: &'static str,
    /// The algorithm's version.
    pub version: u32,
    /// The unit of its values.
    pub unit: &'static str,
    /// The stat; `None` for frames.
    pub stat: Option<String>,
    pub(super) output: &'static Output,
    pub(super) dimension: usize,
    /// Which of the series it is read from.
    series: usize,
}

/// One layer of one version that columns are read from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// `None` if the source never had it: its columns are null.
    pub(super) row: Option<LayerRow>,
    /// How its cells are laid out; frames have none.
    pub(super) layout: Option<&'static Layer>,
    /// Newer versions of the same layer: what they know is not read from this one.
    pub(super) newer: Vec<LayerRow>,
    /// Its columns are noise indicators, which are made of parts of each row's day.
    pub(super) is_noise: bool,
}

/// All columns of an answer.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) all: Vec<Column>,
    pub(super) series: Vec<Series>,
}

/// What decides which columns there are.
pub(super) struct Asked<'a> {
    /// The source's number.
    pub(super) source: i64,
    pub(super) request: &'a Request,
    /// Everything that the source ever had.
    pub(super) layers: &'a [LayerRow],
    /// What begins in it counts.
    pub(super) range: (Micros, Micros),
    pub(super) is_calibrated: bool,
}

impl Columns {
    /// The columns of one series, with their places in a row.
    pub(super) fn of(&self, series: usize) -> impl Iterator<Item = (usize, &Column)> {
        self.all.iter().enumerate().filter(move |(_, column)| column.series == series)
    }

    fn series(&mut self, series: Series) -> usize {
        let known = self.series.iter().position(|known| *known == series);
        known.unwrap_or_else(|| {
            self.series.push(series);
            self.series.len() - 1
        })
    }
}

impl Asked<'_> {
    /// The columns of cells: for each feature and stat one of each dimension, first of the newest version.
    pub(super) async fn cells(&self, tx: &mut ReadTransaction) -> Result<Columns, Problem> {
        let stats: Option<Vec<&str>> =
            self.request.stats.as_ref().map(|stats| stats.iter().map(String::as_str).collect());
        let mut columns = Columns::default();
        for selected in select::stats(&self.request.features, stats.as_deref())? {
            let rows = self.versions(tx, &selected.feature, selected.layer).await?;
            self.add(&mut columns, &selected.feature, Some(&selected.stat), &rows)?;
        }
        Ok(columns)
    }

    /// The columns of frames.
    pub(super) async fn frames(&self, tx: &mut ReadTransaction) -> Result<Columns, Problem> {
        let mut columns = Columns::default();
        for feature in &self.request.features {
            let rows = self.versions(tx, feature, frame_layer(feature)).await?;
            self.add(&mut columns, feature, None, &rows)?;
        }
        Ok(columns)
    }

    /// The versions of a layer that are in the range, newest first; the only one there ever was even if it is not.
    async fn versions(
        &self,
        tx: &mut ReadTransaction,
        feature: &Feature,
        layer: &str,
    ) -> Result<Vec<LayerRow>, Problem> {
        let holds = |row: &&LayerRow| holds(row, feature.descriptor.name, layer) && output_of(row, feature).is_some();
        let stored = self.layers.iter().filter(holds);
        let mut stored: Vec<LayerRow> = stored.cloned().collect();
        stored.sort_by_key(|row| std::cmp::Reverse(row.version));
        if stored.len() <= 1 {
            return Ok(stored);
        }
        let mut present = Vec::new();
        for row in stored {
            if self.is_present(tx, &row).await? {
                present.push(row);
            }
        }
        Ok(present)
    }

    /// Whether anything of a layer begins in the range: asked to the minute, and to the second at both ends.
    async fn is_present(&self, tx: &mut ReadTransaction, row: &LayerRow) -> Result<bool, Problem> {
        let minute = Resolution::Minute;
        let (start, end) = self.range;
        if row.layer == FRAMES {
            return Ok(start < end && store::is_present(tx, self.source, row.id, start, end).await?);
        }
        let (first, last) = (minute.ceil(start), minute.floor(end));
        if first < last && store::is_present(tx, self.source, row.id, first, last).await? {
            return Ok(true);
        }
        for (from, to) in [(start, first.min(end)), (last.max(start), end)] {
            if !store::read_cells(tx, self.source, row, Resolution::Second, from, to).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds the columns of a feature for each version, one for each dimension.
    fn add(
        &self,
        columns: &mut Columns,
        feature: &Feature,
        stat: Option<&str>,
        rows: &[LayerRow],
    ) -> Result<(), Problem> {
        let suffix = match stat {
            Some(stat) if stat != feature.series.default_stat() => format!(":{stat}"),
            _ => String::new(),
        };
        let of_nothing = [None];
        let of_rows: Vec<Option<&LayerRow>> = rows.iter().map(Some).collect();
        let rows_or_nothing = if rows.is_empty() { &of_nothing[..] } else { &of_rows };
        for (place, row) in rows_or_nothing.iter().enumerate() {
            let newer = match self.request.versions {
                Versions::All => Vec::new(),
                Versions::Newest => rows[..place].to_vec(),
            };
            let layout = row.filter(|_| stat.is_some()).map(LayerRow::layout).transpose()?;
            let is_noise = stat.is_some_and(noise::is_noise);
            let series = columns.series(Series { row: row.cloned(), layout, newer, is_noise });
            let version = row.map_or(feature.descriptor.version, |row| row.version);
            let output = row.and_then(|row| output_of(row, feature)).unwrap_or(feature.output);
            let mark = if place == 0 { String::new() } else { format!("@{version}") };
            for dimension in 0..usize::from(feature.series.dimensions) {
                columns.all.push(Column {
                    name: format!("{}{mark}{suffix}", feature.column(dimension)),
                    feature: feature.descriptor.name,
                    version,
                    unit: self.unit(output),
                    stat: stat.map(str::to_owned),
                    output,
                    dimension,
                    series,
                });
            }
        }
        Ok(())
    }

    fn unit(&self, output: &'static Output) -> &'static str {
        if self.is_calibrated && output.unit == "dBFS" { "dB" } else { output.unit }
    }
}

/// Whether the sensor's plan had a calibration at the end of the range.
pub(super) async fn is_calibrated(tx: &mut ReadTransaction, request: &Request, to: Micros) -> Result<bool, Problem> {
    if request.kind != SourceKind::Sensor {
        return Ok(false);
    }
    let sensor = sensors::find(tx, &request.source).await?;
    Ok(sensor.is_some_and(|sensor| sensor.plans.at(to - 1).calibration.is_some()))
}

/// The output of a feature in the version of the algorithm that a layer is of. A version of a foreign algorithm may have
/// no such output, or one of another shape: its values are then none of the feature's.
pub(super) fn output_of(row: &LayerRow, feature: &Feature) -> Option<&'static Output> {
    let Some(foreign) = row.foreign else { return Some(feature.output) };
    let output = foreign.descriptor.output(feature.output.name)?;
    match &output.kind {
        Kind::Series(series) if series == feature.series => Some(output),
        _ => None,
    }
}

/// Whether a layer is that one of an algorithm, in any version.
pub(super) fn holds(row: &LayerRow, algorithm: &str, layer: &str) -> bool {
    row.kind == LayerKind::Series && row.algorithm == algorithm && row.layer == layer
}

/// The layer that holds a feature's frames.
pub(super) fn frame_layer(feature: &Feature) -> &'static str {
    if feature.is_preview() { feature.series.layer } else { FRAMES }
}
