//! One transaction of the writer: what a batch of results changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use antiphon_features::cells::{Layer, split_block};
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::crash;
use antiphon_platform::db::{Bulk, DbError, OnConflict, Statement, Value, WriteTransaction};
use antiphon_platform::sql;

use super::incoming::{Incoming, MARGIN};
use super::results::{self, Applied, Results};
use super::touched::{self, Touched};
use crate::ids::RecordingId;
use crate::messages;
use crate::store::error::StoreError;
use crate::store::lists::list;
use crate::store::recordings::{NewRecording, Recording, Status, make_recordings, recordings_named, update_recordings};
use crate::store::retention::{Retention, retentions};
use crate::store::sources::{LayerKind, Layers, SourceKind, make_sources};
use crate::store::spans::Span;

const FROZEN_DAY: Statement = sql!("../sql/frozen_day.sql");
const FROZEN_DAYS: Statement = sql!("../sql/frozen_days_among.sql");
const BLOCKS_DELETE: Statement = sql!("../sql/blocks_delete_of_piece.sql");
const ANNOTATIONS_DELETE: Statement = sql!("../sql/annotations_delete_of_piece.sql");
const SUMMARY_DELETE: Statement = sql!("../sql/summary_delete.sql");
const STAGED_INSERT: Statement = sql!("../sql/staged_insert.sql");
const STAGED_PARTS: Statement = sql!("../sql/staged_parts.sql");
const STAGED_COUNT: Statement = sql!("../sql/staged_count.sql");
const STAGED_DELETE: Statement = sql!("../sql/staged_delete.sql");

pub(crate) const STATEMENTS: &[Statement] = &[
    FROZEN_DAY,
    FROZEN_DAYS,
    BLOCKS_DELETE,
    ANNOTATIONS_DELETE,
    SUMMARY_DELETE,
    STAGED_INSERT,
    STAGED_PARTS,
    STAGED_COUNT,
    STAGED_DELETE,
];

const BLOCKS: Bulk = Bulk {
    table: "blocks",
    columns: &["source", "layer", "minute", "start", "recording", "piece", "data"],
    on_conflict: OnConflict::Replace(&["source", "layer", "minute", "start", "recording", "piece"]),
};
const ANNOTATIONS: Bulk = Bulk {
    table: "annotations",
    columns: &[
        "source",
        "start",
        "recording",
        "layer",
        "piece",
        "number",
        "finish",
        "label",
        "value",
        "confidence",
        "open_start",
        "open_end",
    ],
    on_conflict: OnConflict::Replace(&["source", "start", "recording", "layer", "piece", "number"]),
};
const SUMMARIES: Bulk = Bulk {
    table: "summaries",
    columns: &["source", "layer", "number", "text", "reason"],
    on_conflict: OnConflict::Replace(&["source", "layer"]),
};

/// Most bytes of partials in a row of blocks. Half a page's quarter or so: SQLite keeps up to 2,030 bytes of a row in
/// its tree (pages of 8 KiB), and PostgreSQL fits four such rows into a page.
const LARGEST_BLOCK: usize = 1_900;

/// What the second block of a layer, minute and piece adds to the piece's number in its row, the third twice, and so on.
/// More than there are pieces.
const NEXT_BLOCK: i64 = 1 << 20;

/// Why a recording in a frozen day fails.
const TOO_OLD: &str = "older than what this sensor keeps";

/// Microseconds in a UTC day.
pub(crate) const DAY: Micros = 86_400 * SECOND;

/// What one transaction has read and is about to write. All that the results of a batch need is read at its begin, and
/// all rows are written at its end, in one statement a table: what rarely happens (a part of a result, a later plan, a
/// repair) asks for itself.
pub(super) struct Batch<'a> {
    tx: &'a mut WriteTransaction,
    clock: &'a Clock,
    now: Micros,
    layers: Layers,
    sources: BTreeMap<(SourceKind, String), Touched>,
    recordings: HashMap<[u8; 20], Recording>,
    /// Those of `recordings` whose rows are to be written.
    changed: BTreeSet<[u8; 20]>,
    /// Songs that were deleted meanwhile.
    unwanted: HashSet<[u8; 20]>,
    results: Results,
    frozen: HashMap<(i64, i64), bool>,
    rows: Rows,
}

/// Rows by their keys, so that none comes twice, and so that they go in in their table's order.
#[derive(Default)]
struct Rows {
    /// By source, layer, minute, start, recording, piece.
    blocks: BTreeMap<[i64; 6], Vec<u8>>,
    /// By source, start, recording, layer, piece, number.
    annotations: BTreeMap<[i64; 6], Vec<Value>>,
    /// By source and layer.
    summaries: BTreeMap<(i64, i64), Vec<Value>>,
}

impl<'a> Batch<'a> {
    /// Reads what the results need, and makes the rows of sources and recordings that are missing.
    pub(super) async fn begin(
        tx: &'a mut WriteTransaction,
        clock: &'a Clock,
        incoming: &[&Incoming],
    ) -> Result<Self, StoreError> {
        let layers = Layers::load(tx).await?;
        let mut batch = Self {
            tx,
            clock,
            now: clock.now(),
            layers,
            sources: BTreeMap::new(),
            recordings: HashMap::new(),
            changed: BTreeSet::new(),
            unwanted: HashSet::new(),
            results: Results::default(),
            frozen: HashMap::new(),
            rows: Rows::default(),
        };
        batch.find_unwanted(incoming).await?;
        let wanted: Vec<&Incoming> =
            incoming.iter().copied().filter(|incoming| !batch.unwanted.contains(&incoming.name)).collect();
        batch.find_sources(&wanted).await?;
        batch.find_recordings(&wanted).await?;
        batch.results = Results::load(batch.tx, batch.recordings.values().map(|found| found.id)).await?;
        batch.find_frozen_days(&wanted).await?;
        Ok(batch)
    }

    /// A song that was deleted meanwhile stays deleted.
    async fn find_unwanted(&mut self, incoming: &[&Incoming]) -> Result<(), StoreError> {
        let songs = incoming.iter().filter(|incoming| incoming.kind == SourceKind::Song);
        for name in songs.map(|incoming| incoming.name).collect::<BTreeSet<_>>() {
            if !antiphon_catalog::song_exists(self.tx, song_id(&name)?).await? {
                self.unwanted.insert(name);
            }
        }
        Ok(())
    }

    async fn find_sources(&mut self, wanted: &[&Incoming]) -> Result<(), StoreError> {
        for kind in [SourceKind::Sensor, SourceKind::Song] {
            let of_kind = wanted.iter().filter(|incoming| incoming.kind == kind);
            let names: BTreeSet<&str> = of_kind.map(|incoming| incoming.source.as_str()).collect();
            if names.is_empty() {
                continue;
            }
            for source in make_sources(self.tx, kind, &names.into_iter().collect::<Vec<_>>()).await? {
                self.sources.insert((kind, source.name.clone()), Touched::new(source));
            }
        }
        Ok(())
    }

    async fn find_recordings(&mut self, wanted: &[&Incoming]) -> Result<(), StoreError> {
        let by_name: BTreeMap<[u8; 20], &Incoming> = wanted.iter().map(|incoming| (incoming.name, *incoming)).collect();
        let found = recordings_named(self.tx, by_name.keys()).await?;
        self.recordings.extend(found.into_iter().map(|found| (found.name, found)));
        let missing: Vec<&Incoming> =
            by_name.values().copied().filter(|incoming| !self.recordings.contains_key(&incoming.name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let sensors: BTreeSet<&str> = missing
            .iter()
            .filter(|incoming| incoming.kind == SourceKind::Sensor)
            .map(|incoming| incoming.source.as_str())
            .collect();
        let kept = retentions(self.tx, &sensors.into_iter().collect::<Vec<_>>()).await?;
        let mut rows = Vec::with_capacity(missing.len());
        for incoming in &missing {
            rows.push(NewRecording {
                name: incoming.name,
                source: self.touched(incoming)?.source.id,
                start: incoming.result.recording_start,
                accepted_at: incoming.result.accepted_at,
                keeps_audio: incoming.kind == SourceKind::Sensor
                    && kept.get(&incoming.source).is_some_and(Retention::keeps_audio),
            });
        }
        make_recordings(self.tx, &rows).await?;
        let made = recordings_named(self.tx, missing.iter().map(|incoming| &incoming.name)).await?;
        self.recordings.extend(made.into_iter().map(|made| (made.name, made)));
        Ok(())
    }

    async fn find_frozen_days(&mut self, wanted: &[&Incoming]) -> Result<(), StoreError> {
        let mut days = BTreeSet::new();
        for incoming in wanted.iter().filter(|incoming| incoming.kind == SourceKind::Sensor) {
            let source = self.touched(incoming)?.source.id;
            let result = &incoming.result;
            days.insert((source, result.recording_start.div_euclid(DAY)));
            let around = (result.from - MARGIN).div_euclid(DAY)..=(result.to + MARGIN).div_euclid(DAY);
            days.extend(around.map(|day| (source, day)));
        }
        let days: Vec<(i64, i64)> = days.into_iter().collect();
        if days.is_empty() {
            return Ok(());
        }
        let frozen = self.tx.rows(&FROZEN_DAYS, &[list(&days)]).await?;
        self.frozen.extend(days.into_iter().map(|day| (day, false)));
        for row in frozen {
            self.frozen.insert((row.get(0)?, row.get(1)?), true);
        }
        Ok(())
    }

    /// Applies one part of a result; what was applied before changes nothing.
    pub(super) async fn add(&mut self, incoming: &Incoming) -> Result<(), StoreError> {
        if self.unwanted.contains(&incoming.name) {
            return Ok(());
        }
        let mut recording = self.recording(incoming)?;
        let result = &incoming.result;
        self.touched(incoming)?.arrived(recording.accepted_at, result);
        if incoming.kind == SourceKind::Sensor && self.is_frozen(incoming, recording.start.div_euclid(DAY)).await? {
            if recording.status == Status::Accepted {
                self.fail(incoming, &mut recording, TOO_OLD).await?;
                self.keep(recording);
            }
            return Ok(());
        }
        if recording.status == Status::Stored && result.plan_version < recording.plan_version {
            return Ok(());
        }
        let before = self.results.find(recording.id, result.piece, &result.group).cloned();
        if let Some(before) = &before {
            let again = result.plan_version == before.plan_version && !before.fault;
            if again || result.plan_version < before.plan_version {
                return Ok(());
            }
        }
        let joined;
        let whole = if incoming.is_whole() {
            incoming
        } else {
            match self.join_parts(incoming, recording.id).await? {
                Some(all) => {
                    joined = all;
                    &joined
                }
                None => return Ok(()),
            }
        };
        whole.check_places()?;
        let same_fault = before.as_ref().is_some_and(|before| before.plan_version == result.plan_version)
            && !whole.result.fault.is_empty();
        if same_fault {
            // A replayed message met the same fault again.
            if recording.status == Status::Accepted {
                self.fail(whole, &mut recording, &whole.result.fault).await?;
            }
            self.keep(recording);
            return Ok(());
        }
        if let Some(before) = before {
            self.remove(whole, &recording, &before).await?;
        }
        self.store(whole, &mut recording).await?;
        self.settle(whole, &mut recording).await?;
        self.keep(recording);
        Ok(())
    }

    /// Writes everything that was gathered.
    pub(super) async fn finish(mut self) -> Result<(), StoreError> {
        self.flush().await?;
        self.results.write(self.tx).await?;
        let changed: Vec<&Recording> = self.changed.iter().filter_map(|name| self.recordings.get(name)).collect();
        if !changed.is_empty() {
            update_recordings(self.tx, &changed).await?;
        }
        let mut all = Vec::with_capacity(self.sources.len());
        for touched in std::mem::take(&mut self.sources).into_values() {
            let source = touched.source.id;
            let mut frozen = BTreeSet::new();
            if touched.source.kind == SourceKind::Sensor {
                for day in touched.changed_days() {
                    if self.is_day_frozen(source, day).await? {
                        frozen.insert(day);
                    }
                }
            }
            all.push((touched, frozen));
        }
        touched::write(self.tx, self.now, all).await
    }

    fn touched(&mut self, incoming: &Incoming) -> Result<&mut Touched, StoreError> {
        let found = self.sources.get_mut(&(incoming.kind, incoming.source.clone()));
        found.ok_or_else(|| DbError::Broken(format!("source {} was not kept", incoming.source)).into())
    }

    /// The recording as it is by now.
    fn recording(&self, incoming: &Incoming) -> Result<Recording, StoreError> {
        let found = self.recordings.get(&incoming.name).cloned();
        let found = found.ok_or_else(|| DbError::Broken(String::from("a recording was not kept")))?;
        let same = found.source == incoming.source && found.kind == incoming.kind;
        if !same || found.start != incoming.result.recording_start {
            return Err(StoreError::Refused(String::from("its id belongs to another recording")));
        }
        Ok(found)
    }

    fn keep(&mut self, recording: Recording) {
        self.changed.insert(recording.name);
        self.recordings.insert(recording.name, recording);
    }

    async fn is_frozen(&mut self, incoming: &Incoming, day: i64) -> Result<bool, StoreError> {
        let source = self.touched(incoming)?.source.id;
        self.is_day_frozen(source, day).await
    }

    async fn is_day_frozen(&mut self, source: i64, day: i64) -> Result<bool, StoreError> {
        if let Some(known) = self.frozen.get(&(source, day)) {
            return Ok(*known);
        }
        let frozen = self.tx.row(&FROZEN_DAY, &[source.into(), day.into()]).await?.is_some();
        self.frozen.insert((source, day), frozen);
        Ok(frozen)
    }

    /// Stages a part. When it was the last one missing: the whole result.
    async fn join_parts(&mut self, incoming: &Incoming, recording: i64) -> Result<Option<Incoming>, StoreError> {
        let result = &incoming.result;
        let key: [Value; 4] =
            [recording.into(), result.piece.into(), result.group.as_str().into(), result.plan_version.into()];
        let mut values = key.to_vec();
        values.extend([result.part.into(), result.parts.into(), self.now.into(), Value::Bytes(incoming.body.to_vec())]);
        self.tx.execute(&STAGED_INSERT, &values).await?;
        let Some(counted) = self.tx.row(&STAGED_COUNT, &key).await? else { return Ok(None) };
        let (there, expected): (u32, u32) = (counted.get(0)?, counted.get(1)?);
        if expected == 0 || there < expected {
            return Ok(None);
        }
        crash::point("write.between-parts");
        let mut whole: Option<Incoming> = None;
        for row in self.tx.rows(&STAGED_PARTS, &key).await? {
            let part = Incoming::decode(row.get::<Vec<u8>>(2)?.into())?;
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => whole.append(part.result),
            }
        }
        self.tx.execute(&STAGED_DELETE, &key).await?;
        Ok(whole)
    }

    /// Takes back what an earlier result of the same piece and group gave.
    async fn remove(&mut self, whole: &Incoming, recording: &Recording, old: &Applied) -> Result<(), StoreError> {
        self.flush().await?;
        let source = self.touched(whole)?.source.id;
        let minute = 60 * SECOND;
        let (first, last) = (old.span.start - MARGIN, old.span.finish + MARGIN);
        let mut looks_back = false;
        for &layer in &old.layers {
            match self.layers.by_id(layer).map(|row| row.kind) {
                Some(LayerKind::Annotations) => {
                    let values =
                        [source.into(), first.into(), last.into(), recording.id.into(), layer.into(), old.piece.into()];
                    self.tx.execute(&ANNOTATIONS_DELETE, &values).await?;
                }
                Some(LayerKind::Summary) => {
                    self.tx.execute(&SUMMARY_DELETE, &[source.into(), layer.into()]).await?;
                }
                Some(LayerKind::Series) | None => {
                    looks_back |= self.layers.by_id(layer).is_some_and(results::looks_back);
                    let values = [
                        source.into(),
                        layer.into(),
                        first.div_euclid(minute).into(),
                        last.div_euclid(minute).into(),
                        recording.start.into(),
                        recording.id.into(),
                        old.piece.into(),
                    ];
                    self.tx.execute(&BLOCKS_DELETE, &values).await?;
                }
            }
        }
        let key = results::hash(recording.kind, &recording.name, old);
        let touched = self.touched(whole)?;
        touched.source.revision.0 = touched.source.revision.0.wrapping_sub(key);
        touched.changed(old.span, looks_back);
        Ok(())
    }

    /// Stores a whole result.
    async fn store(&mut self, whole: &Incoming, recording: &mut Recording) -> Result<(), StoreError> {
        let result = &whole.result;
        let source = self.touched(whole)?.source.id;
        let mut layers = Vec::new();
        let mut looks_back = false;
        for block in &result.blocks {
            let layer =
                self.layers.number(self.tx, LayerKind::Series, &block.algorithm, block.version, &block.layer).await?;
            layers.push(layer);
            looks_back |= self.layers.by_id(layer).is_some_and(results::looks_back);
            let day = block.minute.div_euclid(1_440);
            if whole.kind == SourceKind::Sensor && self.is_frozen(whole, day).await? {
                continue;
            }
            let found = self.layers.by_id(layer).and_then(|row| row.layout().ok());
            for (place, data) in (0..).zip(split(found, block)?) {
                let piece = i64::from(result.piece) + place * NEXT_BLOCK;
                let key = [source, layer, block.minute, recording.start, recording.id, piece];
                self.rows.blocks.insert(key, data);
            }
        }
        for (number, found) in result.annotations.iter().enumerate() {
            let kind = LayerKind::Annotations;
            let layer = self.layers.number(self.tx, kind, &found.algorithm, found.version, &found.r#type).await?;
            layers.push(layer);
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            let key = [source, found.from, recording.id, layer, result.piece.into(), number];
            self.rows.annotations.insert(key, annotation_row(key, found));
        }
        for summary in &result.summaries {
            let kind = LayerKind::Summary;
            let layer = self.layers.number(self.tx, kind, &summary.algorithm, summary.version, &summary.output).await?;
            layers.push(layer);
            self.rows.summaries.insert((source, layer), summary_row(source, layer, summary));
        }
        layers.sort_unstable();
        layers.dedup();
        let applied = Applied {
            piece: result.piece,
            group: result.group.clone(),
            plan_version: result.plan_version,
            parts: result.parts,
            span: Span { start: result.from, finish: result.to },
            fault: !result.fault.is_empty(),
            layers,
        };
        recording.finish = recording.finish.max(result.to);
        recording.plan_version = recording.plan_version.max(result.plan_version);
        if result.last_piece {
            recording.pieces = Some(result.piece + 1);
        }
        let heard = self.outside_frozen_days(whole, applied.span).await?;
        let key = results::hash(recording.kind, &recording.name, &applied);
        let touched = self.touched(whole)?;
        touched.source.revision.0 = touched.source.revision.0.wrapping_add(key);
        touched.source.longest = touched.source.longest.max(recording.finish - recording.start + MARGIN);
        touched.layers.extend(&applied.layers);
        touched.changed(applied.span, looks_back);
        touched.heard.extend(heard);
        self.results.put(recording.id, applied);
        Ok(())
    }

    /// What of an interval lies in days that may still change.
    async fn outside_frozen_days(&mut self, whole: &Incoming, span: Span) -> Result<Vec<Span>, StoreError> {
        if whole.kind == SourceKind::Song {
            return Ok(vec![span]);
        }
        let mut open = Vec::new();
        let mut start = span.start;
        while start < span.finish {
            let day = start.div_euclid(DAY);
            let finish = span.finish.min((day + 1) * DAY);
            if !self.is_frozen(whole, day).await? {
                open.push(Span { start, finish });
            }
            start = finish;
        }
        Ok(open)
    }

    /// What became of the recording, now that one more of its results is there.
    async fn settle(&mut self, whole: &Incoming, recording: &mut Recording) -> Result<(), StoreError> {
        let result = &whole.result;
        if !result.fault.is_empty() {
            return self.fail(whole, recording, &result.fault).await;
        }
        recording.partial = recording.status == Status::Failed && recording.finish > recording.start;
        if result.plan_version < recording.plan_version {
            return Ok(());
        }
        let Some(pieces) = recording.pieces else { return Ok(()) };
        let all = self.results.all(recording.id);
        let is_there = |piece: u32, group: &String| {
            all.iter().any(|found| {
                found.piece == piece && found.group == *group && found.plan_version == recording.plan_version
            })
        };
        let groups = whole.groups();
        if all.len() < pieces as usize || !(0..pieces).all(|piece| groups.iter().all(|group| is_there(piece, group))) {
            return Ok(());
        }
        for old in all.iter().filter(|found| found.plan_version < recording.plan_version) {
            self.remove(whole, recording, old).await?;
            self.results.delete(self.tx, recording.id, old).await?;
        }
        if all.iter().any(|found| found.fault && found.plan_version == recording.plan_version) {
            return Ok(());
        }
        recording.status = Status::Stored;
        recording.stored_at = Some(recording.stored_at.unwrap_or(self.now));
        recording.failed_at = None;
        recording.reason = None;
        recording.partial = false;
        if whole.kind == SourceKind::Song {
            let duration = recording.finish - recording.start;
            antiphon_catalog::mark_stored(self.tx, self.clock, song_id(&whole.name)?, duration).await?;
        }
        Ok(())
    }

    async fn fail(&mut self, whole: &Incoming, recording: &mut Recording, why: &str) -> Result<(), StoreError> {
        recording.fail(self.now, why);
        if whole.kind == SourceKind::Song {
            antiphon_catalog::mark_failed(self.tx, self.clock, song_id(&whole.name)?, why).await?;
        }
        Ok(())
    }

    /// Writes rows that wait for a bulk insert.
    async fn flush(&mut self) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        let block = |(key, data): ([i64; 6], Vec<u8>)| -> Vec<Value> {
            key.into_iter().map(Value::Int).chain([Value::Bytes(data)]).collect()
        };
        self.tx.bulk_insert(&BLOCKS, rows.blocks.into_iter().map(block).collect()).await?;
        self.tx.bulk_insert(&ANNOTATIONS, rows.annotations.into_values().collect()).await?;
        self.tx.bulk_insert(&SUMMARIES, rows.summaries.into_values().collect()).await?;
        Ok(())
    }
}

/// The rows of a block: several where one would be larger than a database keeps in its place.
fn split(layout: Option<&'static Layer>, block: &messages::Block) -> Result<Vec<Vec<u8>>, StoreError> {
    let Some(layout) = layout.filter(|layout| layout.rolls_up() && block.data.len() > LARGEST_BLOCK) else {
        return Ok(vec![block.data.to_vec()]);
    };
    split_block(layout, block.minute, &block.data, LARGEST_BLOCK)
        .map_err(|error| StoreError::Refused(format!("a block cannot be read: {error}")))
}

impl Incoming {
    /// Adds the next part of the same result; the last one says what all of it is.
    fn append(&mut self, next: messages::Result) {
        let before = std::mem::replace(&mut self.result, next);
        let last = &mut self.result;
        last.blocks = [before.blocks, std::mem::take(&mut last.blocks)].concat();
        last.annotations = [before.annotations, std::mem::take(&mut last.annotations)].concat();
        last.summaries = [before.summaries, std::mem::take(&mut last.summaries)].concat();
    }
}

impl Recording {
    /// It cannot be analysed, or not to its end; what is stored of it stays.
    pub(crate) fn fail(&mut self, now: Micros, why: &str) {
        self.status = Status::Failed;
        self.failed_at = Some(now);
        self.stored_at = None;
        self.reason = Some(why.to_owned());
        self.partial = self.finish > self.start;
    }

    /// Its id as text.
    #[must_use]
    pub fn id_text(&self) -> String {
        id_text(self.kind, &self.name)
    }
}

/// The text form of the id of a recording or a song.
pub(crate) fn id_text(kind: SourceKind, name: &[u8; 20]) -> String {
    match kind {
        SourceKind::Sensor => RecordingId::try_from(name.as_slice()).map(|id| id.to_string()).unwrap_or_default(),
        SourceKind::Song => super::incoming::song_name(name),
    }
}

pub(crate) fn song_id(name: &[u8; 20]) -> Result<antiphon_catalog::SongId, StoreError> {
    antiphon_catalog::SongId::try_from(name.as_slice()).map_err(|error| StoreError::Refused(error.to_string()))
}

fn annotation_row(key: [i64; 6], found: &messages::Annotation) -> Vec<Value> {
    let values = [
        found.to.into(),
        found.label.as_str().into(),
        found.value.map(f64::from).into(),
        found.confidence.map(f64::from).into(),
        found.open_start.into(),
        found.open_end.into(),
    ];
    key.into_iter().map(Value::Int).chain(values).collect()
}

fn summary_row(source: i64, layer: i64, summary: &messages::Summary) -> Vec<Value> {
    use messages::summary::Value as Found;
    let (number, text) = match &summary.value {
        Some(Found::Number(number)) => (Some(*number), None),
        Some(Found::Text(text)) => (None, Some(text.clone())),
        None => (None, None),
    };
    vec![source.into(), layer.into(), number.into(), text.into(), summary.reason.as_str().into()]
}
