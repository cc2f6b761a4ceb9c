//! Looks at what was stored, and tells what it means: a task of role `write`.
//!
//! Everything is read and thought over in a snapshot, without a lock. A short write transaction follows: it moves each alert
//! on, adds its changes to the history and their notices to the outbox, and leaves out alerts that are no longer where the
//! snapshot found them, because another process was quicker or somebody changed or deleted them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon_features::cells::Cell;
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::crash;
use antiphon_platform::db::{Database, DbError, ReadTransaction};
use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;

use super::machine::{Change, Machine, Standing};
use super::rows::{self, Alert, Told};
use super::window::Window;
use super::{message, quiet};
use crate::descriptors::Known;
use crate::query::seconds::{self, SecondColumn};
use crate::sensors;
use crate::store::{self, LayerRow, Source, SourceKind, StoreError};

/// Alerts in one transaction.
const PAGE: u32 = 256;

/// Changes of a source that are looked at together.
const CHANGES: u32 = 4_096;

/// Changes of one alert that are told in one transaction.
const TOLD: usize = 100;

/// Seconds that are read at a time: bounds the memory when much was stored since the last look.
const STRETCH: i64 = 3_600;

/// What is told so long after it was so is late, whatever it waited for: 5 minutes, as of sensors' health.
const STALE: Micros = 300 * SECOND;

/// Between two looks: what comes in every second is looked at once a second, whatever number of sensors send.
const PACE: Duration = Duration::from_secs(1);

/// Follows what is stored until `stop` fires. Several may, in one process or many.
pub async fn run(db: Database, clock: Clock, stop: CancellationToken) {
    let reader = db.reader();
    while !stop.is_cancelled() {
        if let Err(error) = round(&db, clock.now()).await {
            tracing::warn!(%error, "alerts wait");
        }
        let next = async {
            tokio::time::sleep(PACE).await;
            reader.changed().await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = next => {}
        }
    }
}

/// Looks at every alert whose sensor has changed since; how many there were.
///
/// # Errors
/// Those of the database. What cannot be read of one sensor holds up no other.
pub async fn round(db: &Database, now: Micros) -> Result<usize, DbError> {
    let mut after = String::new();
    let mut count = 0;
    loop {
        let mut snapshot = db.read().await?;
        let due = rows::due(&mut snapshot, &after, PAGE).await?;
        let Some(last) = due.last() else { return Ok(count) };
        after.clone_from(&last.id);
        count += due.len();
        let found = look(&mut snapshot, due, now).await?;
        drop(snapshot);
        tell(db, found, now).await?;
    }
}

/// What was found out about an alert.
struct Found {
    before: Alert,
    standing: Standing,
    seen: i64,
    told: Vec<Told>,
    /// How its values are called, their unit, and when its notices may be sent.
    shown: Option<(String, &'static str, Micros)>,
}

async fn look(snapshot: &mut ReadTransaction, due: Vec<Alert>, now: Micros) -> Result<Vec<Found>, DbError> {
    let mut by_sensor: BTreeMap<String, Vec<Alert>> = BTreeMap::new();
    for alert in due {
        by_sensor.entry(alert.sensor.clone()).or_default().push(alert);
    }
    let mut all = Vec::new();
    for (sensor, alerts) in by_sensor {
        match look_at(snapshot, &sensor, alerts, now).await {
            Ok(found) => all.extend(found),
            Err(StoreError::Database(error)) => return Err(error),
            Err(error) => tracing::error!(%error, sensor, "what was stored cannot be read; its alerts wait"),
        }
    }
    Ok(all)
}

/// One alert while its seconds are read.
struct Looking {
    alert: Alert,
    column: Option<SecondColumn>,
    /// The layers that hold it, the newest version first.
    layers: Vec<LayerRow>,
    /// The seconds whose values count, `[from, to)`.
    window: Option<(i64, i64)>,
    /// The first second that is read: part of a value that counts.
    reads_from: i64,
    /// The seconds that one value is of, if there are several.
    average: Option<Window<Cell>>,
    machine: Machine,
    changes: Vec<Change>,
    /// The source's event up to which is looked at.
    seen: i64,
}

async fn look_at(
    snapshot: &mut ReadTransaction,
    sensor: &str,
    alerts: Vec<Alert>,
    now: Micros,
) -> Result<Vec<Found>, StoreError> {
    let Some(source) = store::source(snapshot, SourceKind::Sensor, sensor).await? else { return Ok(Vec::new()) };
    // The last second of what was heard may still be half a second.
    let end = store::last_span(snapshot, source.id).await?.map_or(0, |span| span.finish.div_euclid(SECOND));
    let features = alerts.iter().map(|alert| alert.definition.feature.as_str());
    let known = Known::for_names(snapshot, features).await?;
    let layers = store::layers_of(snapshot, source.id).await?;
    let mut changed: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut looking = Vec::with_capacity(alerts.len());
    for alert in alerts {
        let (first, seen) = match changed.get(&alert.seen) {
            Some(found) => *found,
            None => {
                let found = changed_since(snapshot, &source, alert.seen).await?;
                changed.insert(alert.seen, found);
                found
            }
        };
        let rule = alert.definition.rule();
        let column = alert.definition.column(&known);
        if let Err(problem) = &column {
            tracing::warn!(alert = alert.id, why = problem.detail, "an alert looks at nothing that is known");
        }
        let column = column.ok();
        let window = alert.standing.window(&rule, first, end);
        looking.push(Looking {
            layers: column.as_ref().map(|column| column.layers(&layers)).unwrap_or_default(),
            reads_from: window.map_or(0, |(from, _)| rule.reads_from(from).max(alert.definition.since)),
            window,
            average: (rule.average > 1).then(|| Window::new(rule.average)),
            machine: Machine::new(rule, alert.standing.is_on),
            column,
            changes: Vec::new(),
            seen,
            alert,
        });
    }
    read(snapshot, &source, &mut looking).await?;
    let mut shown = None;
    let mut all = Vec::with_capacity(looking.len());
    for one in looking {
        if !one.changes.is_empty() && shown.is_none() {
            shown = Some(zone_and_calibration(snapshot, sensor, now).await?);
        }
        all.push(one.found(now, shown));
    }
    Ok(all)
}

/// The first second that changed after event `seen`, and the event up to which that is so.
async fn changed_since(tx: &mut ReadTransaction, source: &Source, seen: i64) -> Result<(i64, i64), DbError> {
    if seen > source.sequence || !store::can_resume(tx, source, seen).await? {
        // It was deleted with its data and begins anew, or changed too long ago: as far back as is looked at all.
        return Ok((i64::MIN / 4, source.sequence));
    }
    let changes = store::changes_since(tx, source.id, seen, CHANGES).await?;
    let first = changes.iter().map(|change| change.first).min().unwrap_or(i64::MAX / 4);
    let is_whole = changes.len() < CHANGES as usize;
    let up_to = changes.last().filter(|_| !is_whole).map_or(source.sequence, |last| last.sequence);
    Ok((first, up_to))
}

/// Reads the seconds of each layer once for all alerts on it.
async fn read(tx: &mut ReadTransaction, source: &Source, looking: &mut [Looking]) -> Result<(), StoreError> {
    let mut together: Vec<(Vec<LayerRow>, Vec<usize>)> = Vec::new();
    for (index, one) in looking.iter().enumerate().filter(|(_, one)| one.window.is_some()) {
        match together.iter_mut().find(|(layers, _)| *layers == one.layers) {
            Some((_, here)) => here.push(index),
            None => together.push((one.layers.clone(), vec![index])),
        }
    }
    for (layers, here) in together {
        let windows = || here.iter().filter_map(|index| looking[*index].reads());
        let (Some(from), Some(to)) = (windows().map(|(from, _)| from).min(), windows().map(|(_, to)| to).max()) else {
            continue;
        };
        let mut start = from;
        while start < to {
            let stop = (start + STRETCH).min(to);
            for (second, (place, cell)) in seconds::read(tx, source.id, &layers, start, stop).await? {
                let cell = Arc::new(cell);
                for index in &here {
                    looking[*index].step(&layers[place], second, &cell);
                }
            }
            start = stop;
        }
    }
    Ok(())
}

impl Looking {
    /// The seconds to be read, `[from, to)`.
    fn reads(&self) -> Option<(i64, i64)> {
        self.window.map(|(_, to)| (self.reads_from, to))
    }

    fn step(&mut self, layer: &LayerRow, second: i64, cell: &Arc<Cell>) {
        let Some((from, to)) = self.window else { return };
        if !(self.reads_from..to).contains(&second) || self.changes.len() >= TOLD {
            return;
        }
        if let Some(average) = &mut self.average {
            average.push(second, Arc::clone(cell));
        }
        if second < from {
            return;
        }
        let whole = match &mut self.average {
            Some(average) => average.merged(seconds::merged).filter(|whole| average.is_heard(whole.heard)),
            None => Some(Arc::clone(cell)),
        };
        let value = whole.and_then(|cell| self.column.as_ref()?.value(layer, &cell));
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.changes.extend(self.machine.step(second, value));
        }
    }

    fn found(self, now: Micros, shown: Option<(Tz, bool)>) -> Found {
        let Self { alert, column, window, changes, seen, .. } = self;
        let before = alert.standing;
        let mut standing = before;
        if let Some((_, to)) = window {
            standing.position = to;
        }
        if let Some(last) = changes.last() {
            standing = Standing { is_on: last.is_on, floor: last.last + 1, ..standing };
        }
        // What comes behind a hundred changes is looked at the next time, from the last of them on.
        let is_cut = changes.len() >= TOLD;
        if is_cut {
            standing.position = before.position.max(standing.floor);
        }
        let told = (alert.number + 1..)
            .zip(changes)
            .map(|(number, change)| Told {
                number,
                is_late: change.last < before.position || now - (change.last + 1) * SECOND > STALE,
                change,
                told_at: now,
                hook: alert.hook.clone(),
            })
            .collect();
        let shown = column.zip(shown).map(|(column, (zone, is_calibrated))| {
            let not_before = quiet::not_before(&alert.definition.quiet, zone, now);
            (column.name(), column.unit(is_calibrated), not_before)
        });
        Found { seen: if is_cut { alert.seen } else { seen }, before: alert, standing, told, shown }
    }
}

/// The sensor's zone, and whether its levels are calibrated.
pub(super) async fn zone_and_calibration(
    tx: &mut ReadTransaction,
    sensor: &str,
    now: Micros,
) -> Result<(Tz, bool), DbError> {
    let found = sensors::find(tx, sensor).await?;
    let zone = found.as_ref().and_then(|sensor| sensor.timezone.as_deref()).and_then(|zone| zone.parse().ok());
    let is_calibrated = found.is_some_and(|sensor| sensor.plans.at(now).calibration.is_some());
    Ok((zone.unwrap_or(Tz::UTC), is_calibrated))
}

/// Moves alerts on and tells their changes, in one transaction.
async fn tell(db: &Database, all: Vec<Found>, now: Micros) -> Result<(), DbError> {
    if all.is_empty() {
        return Ok(());
    }
    let mut tx = db.write().await?;
    let mut count = 0;
    for Found { before, standing, seen, told, shown } in &all {
        let number = before.number + i64::try_from(told.len()).unwrap_or(i64::MAX);
        if !rows::advance(&mut tx, before, *standing, *seen, number).await? {
            continue;
        }
        for one in told {
            rows::tell(&mut tx, &before.id, one).await?;
            if let (Some(hook), Some((column, unit, not_before))) = (&before.hook, shown) {
                let notice = message::of_change(before, one, column, unit, *not_before);
                antiphon_notify::tell(&mut tx, hook, &notice, now).await?;
            }
        }
        count += told.len();
    }
    crash::point("alerts.before-commit");
    tx.commit().await?;
    crash::point("alerts.after-commit");
    metrics::counter!("antiphon_alert_changes_total").increment(count as u64);
    Ok(())
}
