//! Results made up of real values, and what can be read after they were applied.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod applying;
mod freezing;
mod postgres;
mod purity;
mod queued;
mod reanalysis;
mod schema;
mod sizes;

use std::sync::LazyLock;

use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{Layer, Partial, Values, decode_block, encode_block, encode_cell};
use antiphon_features::session::{Item, Session};
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::db::{Database, DbError, Engine, Migration, Statement};
use antiphon_platform::queue::Message;
use prost::Message as _;
use sha2::{Digest, Sha256};

use super::writer::apply_messages;
use super::*;
use crate::messages::{self, SourceKind as Kind};

/// 2026-05-01T00:00:00Z.
pub(crate) const MAY: Micros = 1_777_593_600 * SECOND;

/// A sensor's recording and what is to be sent about it.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) sensor: &'static str,
    pub(crate) start: Micros,
    pub(crate) length: Micros,
    pub(crate) seed: u64,
    pub(crate) plan: u32,
    /// Instants at which it is cut into pieces.
    pub(crate) cuts: Vec<Micros>,
    /// Parts of each result.
    pub(crate) parts: usize,
    pub(crate) fault: &'static str,
}

impl Made {
    pub(crate) fn new(start: Micros, length: Micros, seed: u64) -> Self {
        Self { sensor: "roof", start, length, seed, plan: 1, cuts: Vec::new(), parts: 1, fault: "" }
    }

    pub(crate) fn name(&self) -> [u8; 20] {
        let digest = Sha256::digest(format!("{} {} {} {}", self.sensor, self.start, self.length, self.seed));
        digest[..20].try_into().unwrap()
    }

    /// The results of group analyze.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let mut borders = vec![self.start];
        borders
            .extend(self.cuts.iter().copied().filter(|cut| (self.start + 1..self.start + self.length).contains(cut)));
        borders.push(self.start + self.length);
        let last = borders.len() - 2;
        let pieces = borders.windows(2).enumerate();
        pieces.flat_map(|(piece, ends)| self.piece(piece, ends[0], ends[1], piece == last)).collect()
    }

    fn piece(&self, piece: usize, from: Micros, to: Micros, last_piece: bool) -> Vec<Message> {
        let whole = messages::Result {
            kind: Kind::Sensor as i32,
            sensor: self.sensor.to_owned(),
            id: self.name().to_vec().into(),
            recording_start: self.start,
            accepted_at: self.start + self.length + 500_000,
            piece: u32::try_from(piece).unwrap(),
            last_piece,
            group: String::from("analyze"),
            groups: vec![String::from("analyze")],
            plan_version: self.plan,
            from,
            to,
            fault: self.fault.to_owned(),
            ..messages::Result::default()
        };
        let blocks = blocks(from, to, self.seed + u64::from(self.plan));
        let share = blocks.len().div_ceil(self.parts).max(1);
        let mut shares: Vec<Vec<messages::Block>> = blocks.chunks(share).map(<[_]>::to_vec).collect();
        shares.resize(self.parts, Vec::new());
        let silence = messages::Annotation {
            algorithm: String::from("silence"),
            version: 1,
            r#type: String::from("silence"),
            from,
            to: from + (to - from) / 2,
            value: Some(-61.5),
            open_start: true,
            ..messages::Annotation::default()
        };
        let parts = u32::try_from(self.parts).unwrap();
        (0..parts)
            .zip(shares)
            .map(|(part, blocks)| {
                let is_last = part + 1 == parts;
                let result = messages::Result {
                    part,
                    parts: if is_last { parts } else { 0 },
                    blocks,
                    annotations: if is_last { vec![silence.clone()] } else { Vec::new() },
                    ..whole.clone()
                };
                message(&result)
            })
            .collect()
    }
}

pub(crate) fn message(result: &messages::Result) -> Message {
    Message {
        id: format!("test/{}/{}", result.piece, result.part),
        kind: String::from("antiphon.result.v1"),
        source: format!("sensors/{}", result.sensor),
        time: result.accepted_at,
        trace: String::new(),
        body: result.encode_to_vec().into(),
    }
}

/// Per layer, the values of some seconds of noise.
static SAMPLES: LazyLock<Vec<(&'static Layer, Vec<Values>)>> = LazyLock::new(|| {
    let rate = 8_000;
    let first = MAY / SECOND * i64::from(rate);
    let stream =
        Stream { rate, channels: 1, first_sample: first, first_body_sample: first, song: false, calibration_db: None };
    let items: Vec<Item> = antiphon_features::registry()
        .iter()
        .map(|found| Item { algorithm: found.name.to_owned(), ..Item::default() })
        .collect();
    let mut session = Session::new(&items, &stream).unwrap();
    let mut state = 1_u32;
    let noise: Vec<f32> = (0..rate * 8)
        .map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let swell = 0.05 + 0.4 * (n as f32 / 9_000.0).sin().abs();
            swell * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
        })
        .collect();
    session.push(&[&noise]);
    let found = session.finish();
    antiphon_features::layers()
        .iter()
        .filter_map(|layer| {
            let blocks = found
                .blocks
                .iter()
                .filter(|block| (block.algorithm, block.layer) == (layer.id.algorithm, layer.id.layer));
            let values: Vec<Values> = blocks
                .flat_map(|block| decode_block(layer, block.minute, &block.data).unwrap())
                .map(|partial| partial.values)
                .collect();
            (!values.is_empty()).then_some((layer, values))
        })
        .collect()
});

/// Blocks of every layer that has partials, for what was heard in `[from, to)`.
fn blocks(from: Micros, to: Micros, seed: u64) -> Vec<messages::Block> {
    if from == to {
        return Vec::new();
    }
    let mut blocks = Vec::new();
    for (layer, samples) in SAMPLES.iter() {
        let seconds = from.div_euclid(SECOND)..(to + SECOND - 1).div_euclid(SECOND);
        let partials: Vec<Partial> = seconds.map(|second| partial(samples, second, from, to, seed)).collect();
        for minute in partials.chunk_by(|a, b| a.second.div_euclid(60) == b.second.div_euclid(60)) {
            blocks.push(messages::Block {
                algorithm: layer.id.algorithm.to_owned(),
                version: layer.version,
                layer: layer.id.layer.to_owned(),
                minute: minute[0].second.div_euclid(60),
                data: encode_block(layer, minute).into(),
                partials: Vec::new(),
            });
        }
    }
    blocks
}

/// The schema of what the store needs.
pub(crate) fn migrations() -> Vec<Migration> {
    [MIGRATIONS, antiphon_catalog::MIGRATIONS].concat()
}

fn partial(samples: &[Values], second: i64, from: Micros, to: Micros, seed: u64) -> Partial {
    let within = |time: Micros| u32::try_from((time - second * SECOND).clamp(0, SECOND)).unwrap();
    let (from, to) = (within(from), within(to));
    let pick = (second.unsigned_abs() ^ seed.wrapping_mul(0x9e37_79b9)) as usize % samples.len();
    let mut values = samples[pick].clone();
    if let Values::Energies(energies) = &mut values {
        for (slot, start) in energies.slots.iter_mut().zip((0..10).map(|tenth| tenth * 100_000)) {
            slot.length = to.min(start + 100_000).saturating_sub(from.max(start));
            slot.energy = if slot.length == 0 { 0.0 } else { slot.energy };
        }
    }
    Partial { second, from, to, values }
}

pub(crate) use antiphon_platform::on_both_engines;

/// A database of its own.
pub(crate) struct Store {
    pub(crate) url: String,
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    /// Last, so that connections are closed before it goes.
    pub(crate) space: Space,
}

/// Where a database is.
pub(crate) enum Space {
    Folder(#[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir),
    Server(antiphon_servers::Database<'static>),
}

impl Store {
    pub(crate) async fn new() -> Self {
        Self::on(Engine::Sqlite).await
    }

    pub(crate) async fn on(engine: Engine) -> Self {
        let (space, url) = match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().join("test.db").display());
                (Space::Folder(folder), url)
            }
            Engine::Postgres => {
                let database = antiphon_servers::Postgres::shared().database();
                let url = database.url();
                (Space::Server(database), url)
            }
        };
        let db = Database::open(url.as_str(), &migrations()).await.unwrap();
        Self { url, db, clock: Clock::manual(MAY + 3_600 * SECOND), space }
    }

    /// On a server, gives back what updates left behind, as its own autovacuum does some time.
    async fn vacuum(&self) {
        if let Space::Server(database) = &self.space {
            database.execute_as_admin("vacuum");
        }
    }

    /// Makes every change of a kind to a table fail.
    async fn break_at(&self, what: &str, table: &str) {
        if self.db.reader().engine() == Engine::Sqlite {
            let fails = "begin select raise(abort, 'told to fail'); end";
            self.execute(format!("create trigger broken before {what} on {table} {fails}")).await;
            return;
        }
        let fails = "create or replace function broken() returns trigger language plpgsql as $$
            begin raise exception 'told to fail'; end $$";
        self.execute(fails.to_owned()).await;
        self.execute(format!("create trigger broken before {what} on {table} for each row execute function broken()"))
            .await;
    }

    async fn mend(&self, table: &str) {
        let of_table = if self.db.reader().engine() == Engine::Sqlite { String::new() } else { format!(" on {table}") };
        self.execute(format!("drop trigger broken{of_table}")).await;
    }

    pub(crate) async fn apply(&self, messages: &[Message]) {
        apply_messages(&self.db, &self.clock, messages).await.unwrap();
    }

    /// Rolls up until nothing is due, as of a time at which everything is.
    pub(crate) async fn roll_up(&self) {
        while rollup::round(&self.db, self.clock.now() + 400 * 86_400 * SECOND).await.unwrap() > 0 {}
    }

    pub(crate) async fn execute(&self, text: String) -> u64 {
        let statement = Statement { name: "test", text: text.leak() };
        let mut tx = self.db.write().await.unwrap();
        let changed = tx.execute(&statement, &[]).await.unwrap();
        tx.commit().await.unwrap();
        changed
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        let row = self.db.read().await.unwrap().row(&Statement { name: "test", text: query }, &[]).await.unwrap();
        row.unwrap().get(0).unwrap()
    }

    pub(crate) async fn status(&self, made: &Made) -> Option<Recording> {
        recording(&mut self.db.read().await.unwrap(), &made.name()).await.unwrap()
    }

    /// Everything that answers are made of, as text: equal stores give equal bytes.
    pub(crate) async fn dump(&self, from: Micros, to: Micros) -> Vec<String> {
        let mut tx = self.db.read().await.unwrap();
        let Some(source) = source(&mut tx, SourceKind::Sensor, "roof").await.unwrap() else { return Vec::new() };
        let mut lines = vec![format!("revision {}", source.revision)];
        let mut layers = layers_of(&mut tx, source.id).await.unwrap();
        layers.sort_by(|a, b| (&a.algorithm, &a.layer, a.version).cmp(&(&b.algorithm, &b.layer, b.version)));
        for layer in layers.iter().filter(|layer| layer.kind == LayerKind::Series) {
            for resolution in Resolution::ALL {
                for (time, cell) in read_cells(&mut tx, source.id, layer, resolution, from, to).await.unwrap() {
                    let bytes = data_encoding::HEXLOWER.encode(&encode_cell(&cell));
                    lines.push(format!("{} {} {} {time} {bytes}", layer.algorithm, layer.layer, resolution.name()));
                }
            }
        }
        for span in spans(&mut tx, source.id, from, to).await.unwrap() {
            lines.push(format!("{span:?}"));
        }
        for found in annotations(&mut tx, &source, from, to, &[]).await.unwrap() {
            lines.push(format!("{found:?}"));
        }
        for interval in counting_intervals(&mut tx, &source, from, to).await.unwrap() {
            lines.push(format!("{interval:?}"));
        }
        for found in recordings_overlapping(&mut tx, &source, from, to, None, 1_000).await.unwrap() {
            lines.push(format!("{} {:?} {} {}", found.id_text(), found.status, found.start, found.finish));
        }
        lines
    }
}

#[tokio::test]
async fn every_statement_prepares_on_both_engines() {
    let shared = [statements(), crate::sensors::statements(), crate::recordings::STATEMENTS.to_vec()].concat();
    let file = Store::on(Engine::Sqlite).await;
    file.db.reader().prepare_all(&shared).await.unwrap();
    let server = Store::on(Engine::Postgres).await;
    server.db.reader().prepare_all(&shared).await.unwrap();
    server.db.reader().prepare_all(&postgres_statements()).await.unwrap();
    for differs in postgres_statements() {
        assert!(differs.text.starts_with("-- Differs because "), "{} says why", differs.name);
        assert!(file.db.reader().prepare_all(&[differs]).await.is_err(), "{} could be shared", differs.name);
    }
}
