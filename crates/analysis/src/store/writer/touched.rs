//! What a batch changes of one source, gathered so that each row is written once.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{Statement, Value, WriteTransaction};
use antiphon_platform::sql;
use serde::Serialize;

use super::batch::DAY;
use crate::messages;
use crate::store::error::StoreError;
use crate::store::lists::list;
use crate::store::resolution::Resolution;
use crate::store::sources::{Source, SourceKind, add_layers, update_sources};
use crate::store::spans::{self, Span};

const ARRIVALS: Statement = sql!("../sql/arrivals_upsert.sql");
const STALE: Statement = sql!("../sql/stale_upsert.sql");
const CHANGES: Statement = sql!("../sql/changes_insert.sql");
const STORED_DAYS: Statement = sql!("../sql/stored_days_upsert.sql");

pub(crate) const STATEMENTS: &[Statement] = &[ARRIVALS, STALE, CHANGES, STORED_DAYS];

/// Seconds after a change whose loudness looks back at it.
const LOOKBACK: Micros = 3 * SECOND;

/// How long a cell rests after its last change before it is made again, so that a cell which still receives data
/// is not made for every message. Readers do not wait for it.
const REST: Micros = 2 * SECOND;

/// What changes of one source.
pub(super) struct Touched {
    pub(super) source: Source,
    pub(super) layers: BTreeSet<i64>,
    /// New audio, outside of frozen days.
    pub(super) heard: Vec<Span>,
    /// Whole seconds that changed, as µs.
    changed: Vec<Span>,
    /// Smallest lag by minute of arrival.
    lags: BTreeMap<i64, Micros>,
}

impl Touched {
    pub(super) fn new(source: Source) -> Self {
        Self { source, layers: BTreeSet::new(), heard: Vec::new(), changed: Vec::new(), lags: BTreeMap::new() }
    }

    /// A message about audio arrived.
    pub(super) fn arrived(&mut self, accepted_at: Micros, result: &messages::Result) {
        let is_last = result.parts > 0 && result.to > result.from;
        if self.source.kind == SourceKind::Song || !is_last {
            return;
        }
        let lag = accepted_at - result.to;
        let minute = accepted_at.div_euclid(60 * SECOND);
        self.lags.entry(minute).and_modify(|smallest| *smallest = lag.min(*smallest)).or_insert(lag);
        if self.source.last_arrival.is_none_or(|last| accepted_at >= last) {
            self.source.last_arrival = Some(accepted_at);
            self.source.last_lag = Some(lag);
        }
    }

    /// The seconds of an interval have other values now; with `looks_back` also those after it.
    pub(super) fn changed(&mut self, span: Span, looks_back: bool) {
        if span.start >= span.finish {
            return;
        }
        let start = Resolution::Second.floor(span.start);
        let finish = Resolution::Second.ceil(span.finish) + if looks_back { LOOKBACK } else { 0 };
        self.changed.push(Span { start, finish });
    }

    /// The UTC days in which cells change.
    pub(super) fn changed_days(&self) -> BTreeSet<i64> {
        self.changed.iter().flat_map(|span| days_of(*span)).collect()
    }

    /// Numbers what changed; (source, event, first second, last second) for each stretch of time.
    fn number_changes(&mut self) -> Vec<(i64, i64, i64, i64)> {
        self.changed = merge(std::mem::take(&mut self.changed));
        let mut changes = Vec::with_capacity(self.changed.len());
        for span in &self.changed {
            let (first, last) = (span.start / SECOND, span.finish / SECOND - 1);
            self.source.sequence += last - first + 1;
            changes.push((self.source.id, self.source.sequence, first, last));
        }
        changes
    }

    /// Marks (source, resolution, time, mark, due) for every stored cell above a changed second, but for those of
    /// frozen days, which are final. The mark is the source's new sequence number, which no other transaction has.
    fn stale(&self, now: Micros, frozen: &BTreeSet<i64>) -> Vec<(i64, i64, Micros, i64, Micros)> {
        let mut rows = Vec::new();
        for resolution in Resolution::STORED {
            let length = resolution.length();
            let mut next = i64::MIN;
            for span in &self.changed {
                let mut time = resolution.floor(span.start).max(next);
                while time < span.finish {
                    if !frozen.contains(&time.div_euclid(DAY)) {
                        let end = time + length;
                        // A cell whose time is not over is about to change again.
                        let due = if time <= now && now < end { end + REST } else { now + REST };
                        rows.push((self.source.id, resolution as i64, time, self.source.sequence, due));
                    }
                    time += length;
                    next = time;
                }
            }
        }
        rows
    }
}

/// Writes what changed of all sources, each with its frozen days: one statement a table, however many they are.
pub(super) async fn write(
    tx: &mut WriteTransaction,
    now: Micros,
    all: Vec<(Touched, BTreeSet<i64>)>,
) -> Result<(), StoreError> {
    let (mut layers, mut arrivals, mut days) = (Vec::new(), Vec::new(), BTreeSet::new());
    let (mut heard, mut changes, mut stale) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut sources = Vec::with_capacity(all.len());
    for (mut touched, frozen) in all {
        let id = touched.source.id;
        let is_sensor = touched.source.kind == SourceKind::Sensor;
        layers.extend(touched.layers.iter().map(|layer| (id, *layer)));
        arrivals.extend(touched.lags.iter().map(|(minute, lag)| (id, *minute, *lag)));
        if is_sensor {
            days.extend(touched.heard.iter().flat_map(|span| days_of(*span)).map(|day| (id, day)));
        }
        heard.insert(id, std::mem::take(&mut touched.heard));
        let changed = touched.number_changes();
        changes.extend(changed.into_iter().filter(|_| is_sensor));
        stale.extend(touched.stale(now, &frozen));
        sources.push(touched.source);
    }
    add_layers(tx, &layers).await?;
    spans::add(tx, heard).await?;
    put(tx, &ARRIVALS, &arrivals, &[]).await?;
    put(tx, &STORED_DAYS, &days.into_iter().collect::<Vec<_>>(), &[now.into()]).await?;
    put(tx, &CHANGES, &changes, &[now.into()]).await?;
    put(tx, &STALE, &stale, &[]).await?;
    update_sources(tx, &sources.iter().collect::<Vec<_>>()).await?;
    Ok(())
}

async fn put<Row: Serialize>(
    tx: &mut WriteTransaction,
    statement: &Statement,
    rows: &[Row],
    more: &[Value],
) -> Result<(), StoreError> {
    if !rows.is_empty() {
        tx.execute(statement, &[&[list(rows)], more].concat()).await?;
    }
    Ok(())
}

/// The UTC days that an interval touches.
fn days_of(span: Span) -> impl Iterator<Item = i64> {
    span.start.div_euclid(DAY)..=(span.finish - 1).div_euclid(DAY)
}

/// Merges intervals that touch.
fn merge(mut intervals: Vec<Span>) -> Vec<Span> {
    intervals.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        match merged.last_mut() {
            Some(last) if interval.start <= last.finish => last.finish = last.finish.max(interval.finish),
            _ => merged.push(interval),
        }
    }
    merged
}
