//! One transaction of the writer: what a batch of results changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::crash;
use antiphon_platform::db::{Bulk, DbError, OnConflict, Statement, Value, WriteTransaction};
use antiphon_platform::sql;

use super::incoming::{Incoming, MARGIN};
use super::results::{self, Applied};
use super::touched::Touched;
use crate::ids::RecordingId;
use crate::messages;
use crate::store::error::StoreError;
use crate::store::recordings::{Recording, Status, make_recording, recording, update_recording};
use crate::store::retention::retention_of;
use crate::store::sources::{LayerKind, Layers, SourceKind, make_source};
use crate::store::spans::Span;

const FROZEN_DAY: Statement = sql!("../sql/frozen_day.sql");
const BLOCKS_DELETE: Statement = sql!("../sql/blocks_delete_of_piece.sql");
const ANNOTATIONS_DELETE: Statement = sql!("../sql/annotations_delete_of_piece.sql");
const SUMMARY_DELETE: Statement = sql!("../sql/summary_delete.sql");
const STAGED_INSERT: Statement = sql!("../sql/staged_insert.sql");
const STAGED_PARTS: Statement = sql!("../sql/staged_parts.sql");
const STAGED_COUNT: Statement = sql!("../sql/staged_count.sql");
const STAGED_DELETE: Statement = sql!("../sql/staged_delete.sql");

pub(crate) const STATEMENTS: &[Statement] = &[
    FROZEN_DAY,
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

/// Why a recording in a frozen day fails.
const TOO_OLD: &str = "older than what this sensor keeps";

/// Microseconds in a UTC day.
pub(crate) const DAY: Micros = 86_400 * SECOND;

/// What one transaction has read and is about to write.
pub(super) struct Batch<'a> {
    tx: &'a mut WriteTransaction,
    clock: &'a Clock,
    now: Micros,
    layers: Layers,
    sources: BTreeMap<(SourceKind, String), Touched>,
    recordings: HashMap<[u8; 20], Recording>,
    frozen: HashMap<(i64, i64), bool>,
    blocks: Vec<Vec<Value>>,
    annotations: Vec<Vec<Value>>,
    summaries: Vec<Vec<Value>>,
}

impl<'a> Batch<'a> {
    pub(super) async fn begin(tx: &'a mut WriteTransaction, clock: &'a Clock) -> Result<Self, StoreError> {
        let layers = Layers::load(tx).await?;
        Ok(Self {
            tx,
            clock,
            now: clock.now(),
            layers,
            sources: BTreeMap::new(),
            recordings: HashMap::new(),
            frozen: HashMap::new(),
            blocks: Vec::new(),
            annotations: Vec::new(),
            summaries: Vec::new(),
        })
    }

    /// Applies one part of a result; what was applied before changes nothing.
    pub(super) async fn add(&mut self, incoming: &Incoming) -> Result<(), StoreError> {
        if !self.is_wanted(incoming).await? {
            return Ok(());
        }
        let mut recording = self.recording(incoming).await?;
        let result = &incoming.result;
        self.touched(incoming).await?.arrived(recording.accepted_at, result);
        if incoming.kind == SourceKind::Sensor && self.is_frozen(incoming, recording.start.div_euclid(DAY)).await? {
            if recording.status == Status::Accepted {
                self.fail(incoming, &mut recording, TOO_OLD).await?;
                self.keep(recording).await?;
            }
            return Ok(());
        }
        if recording.status == Status::Stored && result.plan_version < recording.plan_version {
            return Ok(());
        }
        let before = results::find(self.tx, recording.id, result.piece, &result.group).await?;
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
                None => return self.keep(recording).await,
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
            return self.keep(recording).await;
        }
        if let Some(before) = before {
            self.remove(whole, &recording, &before).await?;
        }
        self.store(whole, &mut recording).await?;
        self.settle(whole, &mut recording).await?;
        self.keep(recording).await
    }

    /// Writes everything that was gathered.
    pub(super) async fn finish(mut self) -> Result<(), StoreError> {
        self.flush().await?;
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
            touched.write(self.tx, self.now, &frozen).await?;
        }
        Ok(())
    }

    /// A song that was deleted meanwhile stays deleted.
    async fn is_wanted(&mut self, incoming: &Incoming) -> Result<bool, StoreError> {
        match incoming.kind {
            SourceKind::Sensor => Ok(true),
            SourceKind::Song => Ok(antiphon_catalog::song_exists(self.tx, song_id(&incoming.name)?).await?),
        }
    }

    async fn touched(&mut self, incoming: &Incoming) -> Result<&mut Touched, StoreError> {
        let key = (incoming.kind, incoming.source.clone());
        if !self.sources.contains_key(&key) {
            let source = make_source(self.tx, incoming.kind, &incoming.source).await?;
            self.sources.insert(key.clone(), Touched::new(source));
        }
        self.sources.get_mut(&key).ok_or_else(|| StoreError::Refused(String::from("the source was not kept")))
    }

    /// The recording's row, made if it is missing.
    async fn recording(&mut self, incoming: &Incoming) -> Result<Recording, StoreError> {
        let found = match self.recordings.get(&incoming.name) {
            Some(known) => known.clone(),
            None => self.find_or_make(incoming).await?,
        };
        let same = found.source == incoming.source && found.kind == incoming.kind;
        if !same || found.start != incoming.result.recording_start {
            return Err(StoreError::Refused(String::from("its id belongs to another recording")));
        }
        Ok(found)
    }

    async fn find_or_make(&mut self, incoming: &Incoming) -> Result<Recording, StoreError> {
        if let Some(found) = recording(self.tx, &incoming.name).await? {
            return Ok(found);
        }
        let keeps_audio = match incoming.kind {
            SourceKind::Sensor => retention_of(self.tx, &incoming.source).await?.keeps_audio(),
            SourceKind::Song => false,
        };
        let (start, accepted_at) = (incoming.result.recording_start, incoming.result.accepted_at);
        let source = self.touched(incoming).await?.source.id;
        make_recording(self.tx, source, &incoming.name, start, accepted_at, keeps_audio).await?;
        let made = recording(self.tx, &incoming.name).await?;
        Ok(made.ok_or_else(|| DbError::Broken(String::from("a recording was not kept")))?)
    }

    async fn keep(&mut self, recording: Recording) -> Result<(), StoreError> {
        update_recording(self.tx, &recording).await?;
        self.recordings.insert(recording.name, recording);
        Ok(())
    }

    async fn is_frozen(&mut self, incoming: &Incoming, day: i64) -> Result<bool, StoreError> {
        let source = self.touched(incoming).await?.source.id;
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
        let source = self.touched(whole).await?.source.id;
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
        let touched = self.touched(whole).await?;
        touched.source.revision.0 = touched.source.revision.0.wrapping_sub(key);
        touched.changed(old.span, looks_back);
        Ok(())
    }

    /// Stores a whole result.
    async fn store(&mut self, whole: &Incoming, recording: &mut Recording) -> Result<(), StoreError> {
        let result = &whole.result;
        let source = self.touched(whole).await?.source.id;
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
            self.blocks.push(vec![
                source.into(),
                layer.into(),
                block.minute.into(),
                recording.start.into(),
                recording.id.into(),
                result.piece.into(),
                Value::Bytes(block.data.to_vec()),
            ]);
        }
        for (number, found) in result.annotations.iter().enumerate() {
            let kind = LayerKind::Annotations;
            let layer = self.layers.number(self.tx, kind, &found.algorithm, found.version, &found.r#type).await?;
            layers.push(layer);
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            self.annotations.push(annotation_row(source, recording.id, layer, result.piece, number, found));
        }
        for summary in &result.summaries {
            let kind = LayerKind::Summary;
            let layer = self.layers.number(self.tx, kind, &summary.algorithm, summary.version, &summary.output).await?;
            layers.push(layer);
            self.summaries.push(summary_row(source, layer, summary));
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
        results::put(self.tx, recording.id, &applied).await?;
        recording.finish = recording.finish.max(result.to);
        recording.plan_version = recording.plan_version.max(result.plan_version);
        if result.last_piece {
            recording.pieces = Some(result.piece + 1);
        }
        let heard = self.outside_frozen_days(whole, applied.span).await?;
        let key = results::hash(recording.kind, &recording.name, &applied);
        let touched = self.touched(whole).await?;
        touched.source.revision.0 = touched.source.revision.0.wrapping_add(key);
        touched.source.longest = touched.source.longest.max(recording.finish - recording.start + MARGIN);
        touched.layers.extend(&applied.layers);
        touched.changed(applied.span, looks_back);
        touched.heard.extend(heard);
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
        let all = results::all(self.tx, recording.id).await?;
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
            results::delete(self.tx, recording.id, old).await?;
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
        self.tx.bulk_insert(&BLOCKS, std::mem::take(&mut self.blocks)).await?;
        self.tx.bulk_insert(&ANNOTATIONS, std::mem::take(&mut self.annotations)).await?;
        self.tx.bulk_insert(&SUMMARIES, std::mem::take(&mut self.summaries)).await?;
        Ok(())
    }
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

fn annotation_row(
    source: i64,
    recording: i64,
    layer: i64,
    piece: u32,
    number: i64,
    found: &messages::Annotation,
) -> Vec<Value> {
    vec![
        source.into(),
        found.from.into(),
        recording.into(),
        layer.into(),
        piece.into(),
        number.into(),
        found.to.into(),
        found.label.as_str().into(),
        found.value.map(f64::from).into(),
        found.confidence.map(f64::from).into(),
        found.open_start.into(),
        found.open_end.into(),
    ]
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
