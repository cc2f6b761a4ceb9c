//! The range query itself: rows of one snapshot, bucket after bucket, as a pure function of what is stored.

mod days;

use std::collections::{BTreeMap, BTreeSet};

use antiphon_features::cells::{Cell, value};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::Problem;
use chrono_tz::Tz;

use super::columns::{self, Column, Columns, Series, frame_layer, holds, is_calibrated};
use super::frames::frames_of;
use super::grid::{Bucket, Grid, largest_cells};
use super::heard::{coverage, gaps, heard, touching};
use super::pieces::{self, join, roll_up};
use super::request::{Asked, Fill, Request};
use super::select::Feature;
use crate::store::{self, LayerRow, Resolution, Revision, Source, SourceKind, Span};

/// The most rows that `auto` chooses.
const AUTO_ROWS: usize = 2_000;

/// Buckets that are computed at a time: a day of minutes is one scan, and memory stays bounded.
pub(super) const STRETCH: usize = 3_600;

/// Frames are read by as much as this at a time.
const FRAME_STRETCH: Micros = 600 * SECOND;

/// A frame begins at most this long before the audio that it belongs to.
const FRAME_REACH: Micros = SECOND;

const DAY: Micros = 86_400 * SECOND;

/// A row of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Start of the bucket or frame, in µs.
    pub time: Micros,
    /// The share of the clipped bucket that was heard, 0 to 1.
    pub coverage: f64,
    /// One value for each [`Column`].
    pub values: Vec<Option<f32>>,
}

/// What the rows of an answer stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    Frames,
    Cells(Resolution),
}

/// An answer in the making: everything that is known before the first row.
pub struct Answer {
    kind: SourceKind,
    source: Option<Source>,
    from: Micros,
    to: Micros,
    rows: Rows,
    grid: Grid,
    zone: Tz,
    fill: Fill,
    columns: Columns,
    spans: Vec<Span>,
    /// Now, cut to the second, for a sensor; a song has no now.
    now: Option<Micros>,
    /// What begins in `[first, end)` counts, and then whole.
    first: Micros,
    end: Micros,
    /// Where the next row is looked for.
    at: Micros,
}

impl Answer {
    /// Looks up what `request` needs in the snapshot of `tx`; `now` in µs since 1970.
    ///
    /// # Errors
    /// 400 for a resolution that is not kept, 503 when the database cannot be used.
    pub async fn prepare(tx: &mut ReadTransaction, request: &Request, now: Micros) -> Result<Self, Problem> {
        let source = store::source(tx, request.kind, &request.source).await?;
        let number = source.as_ref().map_or(-1, |source| source.id);
        let to = match request.to {
            Some(to) => to,
            None => store::last_span(tx, number).await?.map_or(0, |span| span.finish).max(request.from),
        };
        let from = request.from;
        let layers = match &source {
            Some(source) => store::layers_of(tx, source.id).await?,
            None => Vec::new(),
        };
        let frozen = if request.kind == SourceKind::Sensor && from < to {
            store::frozen_days(tx, number, from, to.saturating_add(1)).await?
        } else {
            Vec::new()
        };
        let finest_at = |time: Micros| {
            if frozen.contains(&time.div_euclid(DAY)) { Resolution::Minute } else { Resolution::Second }
        };
        let is_frozen = frozen.iter().any(|day| *day < to.div_euclid(DAY) + i64::from(to.rem_euclid(DAY) > 0));
        let finest = if is_frozen { Resolution::Minute } else { Resolution::Second };
        let rows = choose(request, &layers, from, to, finest)?;
        let grid = match rows {
            Rows::Cells(resolution) => Grid::new(resolution, request.zone),
            Rows::Frames => Grid::new(Resolution::Second, request.zone),
        };
        let (first, end) = match rows {
            Rows::Cells(_) => (finest_at(from).ceil(from), finest_at(to).ceil(to)),
            Rows::Frames => (from, to),
        };
        let asked = columns::Asked {
            source: number,
            request,
            layers: &layers,
            range: (first, end),
            is_calibrated: is_calibrated(tx, request, to).await?,
        };
        let columns = match rows {
            Rows::Frames => asked.frames(tx).await?,
            Rows::Cells(_) => asked.cells(tx).await?,
        };
        Ok(Self {
            kind: request.kind,
            from,
            to,
            rows,
            grid,
            zone: request.zone,
            fill: request.fill,
            columns,
            spans: store::spans(tx, number, from.saturating_sub(FRAME_REACH), end.max(to)).await?,
            now: (request.kind == SourceKind::Sensor).then(|| now.div_euclid(SECOND) * SECOND),
            first,
            end,
            at: first,
            source,
        })
    }

    /// Whether the source is a sensor or a song.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// The half-open range, in µs.
    #[must_use]
    pub fn range(&self) -> (Micros, Micros) {
        (self.from, self.to)
    }

    /// The revision of the source's data.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.source.as_ref().map_or(Revision(0), |source| source.revision)
    }

    /// The name of the resolution that was asked for or chosen.
    #[must_use]
    pub fn resolution(&self) -> &'static str {
        match self.rows {
            Rows::Frames => "frame",
            Rows::Cells(resolution) => resolution.name(),
        }
    }

    /// The columns beside `time` and `coverage`.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns.all
    }

    /// Whether the answer depends on when it was made.
    #[must_use]
    pub fn depends_on_now(&self) -> bool {
        self.now.is_some_and(|now| self.to > now)
    }

    /// Whether there are no more rows; a few calls of [`next`](Self::next) may come to nothing before it is.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.at >= self.end
    }

    /// Goes on at a row that an earlier page named.
    ///
    /// # Errors
    /// 400 when it lies outside of the range.
    pub fn skip_to(&mut self, time: Micros) -> Result<(), Problem> {
        if time >= self.end || time < self.grid.bucket(self.from).start {
            return Err(Problem::bad_field("cursor", "this cursor belongs to a query of another range"));
        }
        self.at = self.first.max(time);
        Ok(())
    }

    /// What was not heard between two instants of the range.
    #[must_use]
    pub fn gaps(&self, from: Micros, to: Micros) -> Vec<Span> {
        gaps(&self.spans, from.max(self.from), to.min(self.to), self.now)
    }

    /// The next rows, `most` of them or fewer; none at the end.
    ///
    /// # Errors
    /// 503 when the database cannot be used, 500 when stored values are damaged.
    pub async fn next(&mut self, tx: &mut ReadTransaction, most: usize) -> Result<Vec<Row>, Problem> {
        match self.rows {
            Rows::Frames => self.next_frames(tx, most).await,
            Rows::Cells(resolution) => {
                let buckets = self.next_buckets(most.min(STRETCH));
                self.rows_of(tx, resolution, &buckets).await
            }
        }
    }

    fn number(&self) -> i64 {
        self.source.as_ref().map_or(-1, |source| source.id)
    }

    /// The next buckets that have a row.
    fn next_buckets(&mut self, most: usize) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        while buckets.len() < most && self.at < self.end {
            let bucket = self.grid.bucket(self.at);
            let (start, end) = (bucket.start.max(self.first), bucket.end.min(self.end));
            let was_heard = heard(&self.spans, start, end) > 0;
            let is_past = self.now.is_none_or(|now| bucket.start < now);
            if was_heard || self.fill == Fill::Gaps && is_past {
                buckets.push(bucket);
                self.at = bucket.end;
                continue;
            }
            // Nothing but audio makes a row from here on, so whatever lies before the next audio is passed over.
            let next = touching(&self.spans, end, self.end).next();
            self.at = next.map_or(self.end, |span| span.start.max(bucket.end));
        }
        buckets
    }

    async fn rows_of(
        &self,
        tx: &mut ReadTransaction,
        resolution: Resolution,
        buckets: &[Bucket],
    ) -> Result<Vec<Row>, Problem> {
        let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else { return Ok(Vec::new()) };
        let parts: Vec<Vec<(Resolution, Micros)>> = buckets.iter().map(|bucket| self.parts(*bucket)).collect();
        let mut rows: Vec<Row> = buckets
            .iter()
            .map(|bucket| Row {
                time: bucket.start,
                coverage: coverage(&self.spans, bucket.start.max(self.from), bucket.end.min(self.to), self.now),
                values: vec![None; self.columns.all.len()],
            })
            .collect();
        let whole = (resolution, first.start.max(self.first), last.end.min(self.end));
        for (index, series) in self.columns.series.iter().enumerate() {
            if series.is_noise {
                self.add_days(tx, index, series, buckets, &mut rows).await?;
                continue;
            }
            let (Some(layer), Some(layout)) = (&series.row, series.layout) else { continue };
            let cells = pieces::read(tx, self.number(), layer, &parts, whole).await?;
            let mut known = BTreeSet::new();
            for newer in &series.newer {
                known.extend(pieces::read(tx, self.number(), newer, &parts, whole).await?.into_keys());
            }
            for ((row, parts), bucket) in rows.iter_mut().zip(&parts).zip(buckets) {
                let cell = if parts.iter().any(|part| known.contains(part)) {
                    self.only_here(tx, series, *bucket).await?
                } else {
                    join(layout, parts, &cells)
                };
                let Some(cell) = cell else { continue };
                for (place, column) in self.columns.of(index) {
                    let stat = column.stat.as_deref().unwrap_or_default();
                    row.values[place] = value(&cell, column.output, stat, column.dimension);
                }
            }
        }
        Ok(rows)
    }

    /// The stored cells that a bucket, clipped to the range, is made of.
    fn parts(&self, bucket: Bucket) -> Vec<(Resolution, Micros)> {
        largest_cells(bucket.start.max(self.first), bucket.end.min(self.end))
    }

    /// The cell of a bucket, made of what no newer version knows.
    async fn only_here(
        &self,
        tx: &mut ReadTransaction,
        series: &Series,
        bucket: Bucket,
    ) -> Result<Option<Cell>, Problem> {
        let (Some(layer), Some(layout)) = (&series.row, series.layout) else { return Ok(None) };
        let (start, end) = (bucket.start.max(self.first), bucket.end.min(self.end));
        let finest = if self.is_frozen_part(tx, start, end).await? { Resolution::Minute } else { Resolution::Second };
        let mut known = BTreeSet::new();
        for newer in &series.newer {
            let cells = store::read_cells(tx, self.number(), newer, finest, start, end).await?;
            known.extend(cells.into_iter().map(|(time, _)| time));
        }
        let mut own = store::read_cells(tx, self.number(), layer, finest, start, end).await?;
        own.retain(|(time, _)| !known.contains(time));
        Ok(join(layout, &largest_cells(start, end), &roll_up(layout, own, finest)))
    }

    async fn is_frozen_part(&self, tx: &mut ReadTransaction, start: Micros, end: Micros) -> Result<bool, Problem> {
        Ok(self.kind == SourceKind::Sensor && !store::frozen_days(tx, self.number(), start, end).await?.is_empty())
    }

    async fn next_frames(&mut self, tx: &mut ReadTransaction, most: usize) -> Result<Vec<Row>, Problem> {
        let Some(source) = &self.source else {
            self.at = self.end;
            return Ok(Vec::new());
        };
        while self.at < self.end {
            let next = touching(&self.spans, self.at, self.end.saturating_add(FRAME_REACH)).next();
            let Some(span) = next else {
                self.at = self.end;
                break;
            };
            let start = self.at.max(span.start - FRAME_REACH);
            let end = (start + FRAME_STRETCH).min(self.end);
            let mut rows: BTreeMap<Micros, Vec<Option<f32>>> = BTreeMap::new();
            for (index, series) in self.columns.series.iter().enumerate() {
                let Some(layer) = &series.row else { continue };
                let columns: Vec<(usize, &Column)> = self.columns.of(index).collect();
                let mut known = BTreeSet::new();
                for newer in &series.newer {
                    let frames = frames_of(tx, source, newer, &columns, start, end).await?;
                    known.extend(frames.into_iter().map(|(time, _)| time));
                }
                for (time, values) in frames_of(tx, source, layer, &columns, start, end).await? {
                    if known.contains(&time) {
                        continue;
                    }
                    let row = rows.entry(time).or_insert_with(|| vec![None; self.columns.all.len()]);
                    for ((place, _), value) in columns.iter().zip(values) {
                        row[*place] = value;
                    }
                }
            }
            let mut rows: Vec<Row> =
                rows.into_iter().map(|(time, values)| Row { time, coverage: 1.0, values }).collect();
            self.at = end;
            if rows.len() > most {
                self.at = rows[most].time;
                rows.truncate(most);
            }
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
        Ok(Vec::new())
    }

    /// Where the next row begins, if there is one: what the next page starts with.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn peek(&mut self, tx: &mut ReadTransaction) -> Result<Option<Micros>, Problem> {
        let at = self.at;
        let next = match self.rows {
            Rows::Cells(_) => self.next_buckets(1).first().map(|bucket| bucket.start),
            Rows::Frames => self.next_frames(tx, 1).await?.first().map(|row| row.time),
        };
        self.at = at;
        Ok(next)
    }
}

/// The resolution of the rows: what is asked for if it is kept, or else the finest with few enough rows.
fn choose(
    request: &Request,
    layers: &[LayerRow],
    from: Micros,
    to: Micros,
    finest: Resolution,
) -> Result<Rows, Problem> {
    let not_kept = |finest: &str| {
        let detail = format!("this is not kept that fine over the whole range; the finest that is: {finest}");
        Err(Problem::bad_field("resolution", detail).hint(Some(finest)))
    };
    match request.resolution {
        Asked::Frame => {
            let is_kept =
                |feature: &Feature| layers.iter().any(|row| holds(row, feature.descriptor.name, frame_layer(feature)));
            if finest > Resolution::Second || !request.features.iter().all(is_kept) {
                return not_kept(finest.name());
            }
            Ok(Rows::Frames)
        }
        Asked::Auto if request.asks_for_days() => Ok(Rows::Cells(Resolution::Day)),
        Asked::Cells(resolution) if resolution < finest => not_kept(finest.name()),
        Asked::Cells(resolution) => Ok(Rows::Cells(resolution)),
        Asked::Auto => {
            let is_few = |resolution: &Resolution| {
                *resolution >= finest && Grid::new(*resolution, request.zone).count(from, to, AUTO_ROWS) <= AUTO_ROWS
            };
            Ok(Rows::Cells(Resolution::ALL.into_iter().find(is_few).unwrap_or(Resolution::Day)))
        }
    }
}
