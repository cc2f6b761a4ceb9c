//! What a batch changes of one source, gathered so that each row is written once.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{Bulk, OnConflict, Statement, Value, WriteTransaction};
use antiphon_platform::sql;

use super::batch::DAY;
use crate::messages;
use crate::store::error::StoreError;
use crate::store::resolution::Resolution;
use crate::store::sources::{Source, SourceKind, add_layer, update_source};
use crate::store::spans::{self, Span};

const ARRIVAL: Statement = sql!("../sql/arrival_upsert.sql");

pub(crate) const STATEMENTS: &[Statement] = &[ARRIVAL];

const STALE: Bulk = Bulk {
    table: "stale",
    columns: &["source", "resolution", "time", "mark", "due"],
    on_conflict: OnConflict::Replace(&["source", "resolution", "time"]),
};
const CHANGES: Bulk =
    Bulk { table: "changes", columns: &["source", "sequence", "first", "last", "at"], on_conflict: OnConflict::Fail };
const STORED_DAYS: Bulk = Bulk {
    table: "stored_days",
    columns: &["source", "day", "last_stored_at"],
    on_conflict: OnConflict::Replace(&["source", "day"]),
};

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

    /// Writes it all.
    pub(super) async fn write(
        mut self,
        tx: &mut WriteTransaction,
        now: Micros,
        frozen: &BTreeSet<i64>,
    ) -> Result<(), StoreError> {
        let id = self.source.id;
        for layer in &self.layers {
            add_layer(tx, id, *layer).await?;
        }
        for (minute, lag) in &self.lags {
            tx.execute(&ARRIVAL, &[id.into(), (*minute).into(), (*lag).into()]).await?;
        }
        if self.source.kind == SourceKind::Sensor {
            let days: BTreeSet<i64> = self.heard.iter().flat_map(|span| days_of(*span)).collect();
            let rows = days.into_iter().map(|day| vec![id.into(), day.into(), now.into()]).collect();
            tx.bulk_insert(&STORED_DAYS, rows).await?;
        }
        spans::add(tx, id, std::mem::take(&mut self.heard)).await?;
        self.changed = merge(std::mem::take(&mut self.changed));
        let mut changes = Vec::new();
        for span in &self.changed {
            let (first, last) = (span.start / SECOND, span.finish / SECOND - 1);
            self.source.sequence += last - first + 1;
            changes.push(vec![id.into(), self.source.sequence.into(), first.into(), last.into(), now.into()]);
        }
        if self.source.kind == SourceKind::Sensor {
            tx.bulk_insert(&CHANGES, changes).await?;
        }
        tx.bulk_insert(&STALE, self.stale(now, frozen)).await?;
        update_source(tx, &self.source).await?;
        Ok(())
    }

    /// Marks for every stored cell above a changed second, but for those of frozen days, which are final. The
    /// mark is the source's new sequence number, which no other transaction has.
    fn stale(&self, now: Micros, frozen: &BTreeSet<i64>) -> Vec<Vec<Value>> {
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
                        rows.push(vec![
                            self.source.id.into(),
                            Value::Int(resolution as i64),
                            time.into(),
                            self.source.sequence.into(),
                            due.into(),
                        ]);
                    }
                    time += length;
                    next = time;
                }
            }
        }
        rows
    }
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
