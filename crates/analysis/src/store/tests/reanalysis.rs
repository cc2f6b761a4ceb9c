//! Songs that are analysed again because their plan is an older one.

use antiphon_catalog::SongId;
use antiphon_catalog::messages::Song;
use antiphon_platform::db::Value;

use super::*;
use crate::plan::{Choice, named};
use crate::store::reanalysis::{Step, step};

on_both_engines! {
    songs_of_an_older_plan_are_queued_a_few_at_a_time,
    an_algorithm_that_rises_makes_old_results_outdated,
    what_a_plan_lost_queues_nothing_and_plans_keep_their_numbers,
    nothing_is_queued_twice_whatever_fails_and_whoever_competes,
    what_died_or_was_deleted_makes_room_and_is_not_queued_again,
}

const MOST: u32 = 2;

async fn run(store: &Store, text: &'static str, values: &[Value]) {
    let mut tx = store.db.write().await.unwrap();
    tx.execute(&Statement { name: "test", text }, values).await.unwrap();
    tx.commit().await.unwrap();
}

fn id(number: u8) -> SongId {
    SongId::try_from(&[number; 20][..]).unwrap()
}

/// Adds a song, accepted and not yet analysed.
async fn add(store: &Store, number: u8) {
    const ADD: &str = "insert into songs (id, status, search, size, media_type, blob, accepted_at) \
                       values ($1, 'accepted', '', 1, 'audio/flac', $2, $3)";
    let values = [vec![number; 20].into(), format!("songs/{number}").into(), i64::from(number).into()];
    run(store, ADD, &values).await;
}

/// Stores what the analysis of a song found, as of a version of the plan; `seed` decides what that is.
async fn analysed(store: &Store, number: u8, plan_version: u32) {
    let result = messages::Result {
        kind: Kind::Song as i32,
        id: vec![number; 20].into(),
        accepted_at: i64::from(number),
        last_piece: true,
        group: String::from("analyze-songs"),
        groups: vec![String::from("analyze-songs")],
        plan_version,
        parts: 1,
        to: 3 * SECOND,
        blocks: blocks(0, 3 * SECOND, u64::from(plan_version)),
        ..messages::Result::default()
    };
    store.apply(&[message(&result)]).await;
}

async fn version_of(store: &Store, names: &str) -> u32 {
    plan_of_songs(&store.db, &store.clock, &named(names).unwrap()).await.unwrap().version
}

async fn step_to(store: &Store, names: &str) -> Step {
    step(&store.db, &store.clock, &named(names).unwrap(), MOST).await.unwrap()
}

/// The messages in the outbox, which is emptied: their ids, songs and plans.
async fn queued(store: &Store) -> Vec<(String, u8, messages::Plan)> {
    const ALL: Statement =
        Statement { name: "all", text: "select message_id, topic, body from outbox order by number" };
    let rows = store.db.read().await.unwrap().rows(&ALL, &[]).await.unwrap();
    run(store, "delete from outbox", &[]).await;
    let message = |row: &antiphon_platform::db::Row| {
        let song = Song::decode(row.get::<Vec<u8>>(2).unwrap().as_slice()).unwrap();
        assert_eq!(row.get::<String>(1).unwrap(), "songs");
        assert_eq!((song.blob, song.accepted_at), (format!("songs/{}", song.id[0]), i64::from(song.id[0])));
        (row.get(0).unwrap(), song.id[0], messages::Plan::decode(song.plan).unwrap())
    };
    rows.iter().map(message).collect()
}

/// What can be read of a song: its status, the version of its plan, and the bytes of its level.
async fn seen(store: &Store, number: u8) -> (antiphon_catalog::Status, u32, Vec<String>) {
    let mut tx = store.db.read().await.unwrap();
    let status = antiphon_catalog::find_song(&mut tx, id(number)).await.unwrap().unwrap().status;
    let version = recording(&mut tx, &[number; 20]).await.unwrap().unwrap().plan_version;
    let found = source(&mut tx, SourceKind::Song, &id(number).to_string()).await.unwrap().unwrap();
    let mut cells = Vec::new();
    for layer in layers_of(&mut tx, found.id).await.unwrap().iter().filter(|layer| layer.algorithm == "level") {
        for (time, cell) in read_cells(&mut tx, found.id, layer, Resolution::Second, 0, 3 * SECOND).await.unwrap() {
            cells.push(format!("{time} {}", data_encoding::HEXLOWER.encode(&encode_cell(&cell))));
        }
    }
    (status, version, cells)
}

async fn songs(store: &Store, numbers: std::ops::RangeInclusive<u8>, plan_version: u32) {
    for number in numbers {
        add(store, number).await;
        analysed(store, number, plan_version).await;
    }
}

async fn songs_of_an_older_plan_are_queued_a_few_at_a_time(on: Engine) {
    let store = Store::on(on).await;
    let old = version_of(&store, "level.a").await;
    songs(&store, 1..=5, old).await;
    add(&store, 6).await;
    assert_eq!(step_to(&store, "level.a").await, Step::default(), "the plan is what it was");
    assert_eq!(queued(&store).await, []);
    let new = version_of(&store, "level").await;
    songs(&store, 7..=7, new).await;
    let before = seen(&store, 1).await;
    assert_eq!(step_to(&store, "level").await, Step { queued: MOST, waiting: MOST, more: true });
    let messages = queued(&store).await;
    let ids: Vec<(String, u8)> = messages.iter().map(|(id, song, _)| (id.clone(), *song)).collect();
    assert_eq!(ids, [1, 2].map(|number| (format!("{}/{new}", id(number)), number)));
    for (_, _, plan) in &messages {
        let items: Vec<&str> = plan.items.iter().map(|item| item.algorithm.as_str()).collect();
        assert_eq!((plan.version, items.as_slice()), (new, &["level"][..]));
    }
    assert_eq!(
        step_to(&store, "level").await,
        Step { queued: 0, waiting: MOST, more: true },
        "no more until they are done"
    );
    assert_eq!(queued(&store).await, []);
    let meanwhile = seen(&store, 1).await;
    assert_eq!((meanwhile.0, &meanwhile.2), (before.0, &before.2), "the old results answer until then");
    // Songs come back in any order; a late repeat of the old result has no effect.
    analysed(&store, 2, new).await;
    analysed(&store, 2, old).await;
    assert_eq!(step_to(&store, "level").await, Step { queued: 1, waiting: 2, more: true });
    analysed(&store, 1, new).await;
    analysed(&store, 3, new).await;
    assert_eq!(step_to(&store, "level").await, Step { queued: 2, waiting: 2, more: false });
    let rest: Vec<u8> = queued(&store).await.iter().map(|(_, song, _)| *song).collect();
    assert_eq!(rest, [3, 4, 5], "each once; what is not analysed yet and what is of the new plan are left alone");
    analysed(&store, 4, new).await;
    analysed(&store, 5, new).await;
    assert_eq!(step_to(&store, "level").await, Step::default());
    assert_eq!(step_to(&store, "level").await, Step::default());
    for number in 1..=5 {
        let after = seen(&store, number).await;
        assert_eq!((after.0, after.1), (antiphon_catalog::Status::Stored, new));
        assert_eq!(after.2, seen(&store, 7).await.2, "nothing of the old results is left");
        assert_ne!(after.2, before.2);
    }
}

async fn an_algorithm_that_rises_makes_old_results_outdated(on: Engine) {
    const OLD: &str = r#"[{"algorithm":"level","version":0,"outputs":["a"],"parameters":{},"frames":false}]"#;
    let store = Store::on(on).await;
    run(&store, "insert into song_plans (version, since, plan) values (7, 0, $1)", &[OLD.into()]).await;
    songs(&store, 1..=1, 7).await;
    assert_eq!(step_to(&store, "level.a").await, Step { queued: 1, waiting: 1, more: false });
    let (id, _, plan) = queued(&store).await.remove(0);
    assert_eq!((plan.version, plan.items[0].version), (8, antiphon_features::find("level").unwrap().version));
    assert!(id.ends_with("/8"), "{id}");
    // A build that is older than the results leaves them alone.
    analysed(&store, 1, 8).await;
    run(&store, "update song_plans set plan = replace(plan, '\"version\":1', '\"version\":99') where version = 8", &[])
        .await;
    assert_eq!(step_to(&store, "level.a").await, Step::default());
}

async fn what_a_plan_lost_queues_nothing_and_plans_keep_their_numbers(on: Engine) {
    let store = Store::on(on).await;
    let level = version_of(&store, "level").await;
    let less = version_of(&store, "level.a").await;
    assert!(level > 1 && less > level);
    assert_eq!(version_of(&store, "level-only").await, level, "the same by another name");
    songs(&store, 1..=1, level).await;
    assert_eq!(step_to(&store, "level.a").await, Step::default(), "they have more than is asked for");
    // Back to the first plan: what came under the smaller one lacks something, and must get a number above its own.
    songs(&store, 2..=2, less).await;
    assert_eq!(step_to(&store, "level").await.queued, 1);
    let (_, song, plan) = queued(&store).await.remove(0);
    assert!(song == 2 && plan.version > less, "{song} {}", plan.version);
    assert_eq!(version_of(&store, "level").await, plan.version, "new songs take the newest number of their plan");
}

async fn nothing_is_queued_twice_whatever_fails_and_whoever_competes(on: Engine) {
    let store = Store::on(on).await;
    let old = version_of(&store, "level.a").await;
    songs(&store, 1..=3, old).await;
    for (what, table) in [("insert", "outbox"), ("insert", "reanalyses"), ("update", "recordings")] {
        store.break_at(what, table).await;
        step(&store.db, &store.clock, &named("level").unwrap(), MOST).await.unwrap_err();
        store.mend(table).await;
        assert_eq!(store.count("select count(*) from outbox").await, 0, "{table}");
        assert_eq!(store.count("select count(*) from reanalyses").await, 0, "{table}");
    }
    let level: Vec<Choice> = named("level").unwrap();
    let competing = (0..4).map(|_| step(&store.db, &store.clock, &level, MOST));
    let steps: u32 = futures::future::join_all(competing).await.into_iter().map(|step| step.unwrap().queued).sum();
    assert_eq!(steps, MOST);
    let songs: Vec<u8> = queued(&store).await.iter().map(|(_, song, _)| *song).collect();
    assert_eq!(songs, [1, 2]);
    assert_eq!(step(&store.db, &store.clock, &level, 0).await.unwrap(), Step { queued: 0, waiting: 2, more: true });
}

async fn what_died_or_was_deleted_makes_room_and_is_not_queued_again(on: Engine) {
    const DIED: &str = "insert into dead_letters (id, grp, message_id, kind, source, time, trace, body, reason, died_at, deliveries) \
                        values ('x', 'analyze-songs', $1, '', 'songs', 0, '', $2, 'it broke', 0, 1)";
    let store = Store::on(on).await;
    let old = version_of(&store, "level.a").await;
    songs(&store, 1..=6, old).await;
    assert_eq!(step_to(&store, "level").await.queued, 2);
    let died = queued(&store).await[0].0.clone();
    run(&store, DIED, &[died.into(), Vec::new().into()]).await;
    let mut tx = store.db.write().await.unwrap();
    delete_song(&mut tx, &id(2).to_string()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(step_to(&store, "level").await, Step { queued: 2, waiting: 2, more: true });
    // Songs of which nothing is heard any more make room in the end.
    store.clock.advance(13 * 3_600 * SECOND);
    assert_eq!(step_to(&store, "level").await, Step { queued: 2, waiting: 2, more: false });
    let songs: Vec<u8> = queued(&store).await.iter().map(|(_, song, _)| *song).collect();
    assert_eq!(songs, [3, 4, 5, 6]);
    assert_eq!(seen(&store, 1).await.0, antiphon_catalog::Status::Stored, "its old results go on answering");
}
