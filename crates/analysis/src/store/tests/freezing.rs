//! What is let go of, and what stays.

use std::sync::Arc;

use antiphon_platform::blobs::Blobs;
use antiphon_platform::blobs::folder::{Access, FolderBlobs};

use super::*;

const DAY: Micros = 86_400 * SECOND;

async fn retain(store: &Store, now: Micros) {
    let folder = tempfile::tempdir().unwrap();
    let blobs: Arc<dyn Blobs> =
        Arc::new(FolderBlobs::open(antiphon_platform::disk::local(), folder.path(), Access::Write).unwrap());
    retention::run(&store.db, &blobs, now).await.unwrap();
}

fn coarse(dump: Vec<String>) -> Vec<String> {
    dump.into_iter().filter(|line| [" 1m ", " 10m ", " 1h ", " 1d "].iter().any(|name| line.contains(name))).collect()
}

on_both_engines! {
    a_day_freezes_90_days_after_its_end_or_a_week_after_its_last_recording,
    a_frozen_day_is_final_and_its_neighbours_are_not_disturbed,
    the_first_seconds_of_a_day_look_back_into_a_frozen_one,
    old_previews_events_and_parts_go,
    a_deleted_sensor_starts_anew_and_leaves_nothing,
}

async fn a_day_freezes_90_days_after_its_end_or_a_week_after_its_last_recording(on: Engine) {
    let store = Store::on(on).await;
    store.apply(&Made::new(MAY + 60 * SECOND, 10 * SECOND, 1).messages()).await;
    let end = MAY + DAY;
    for (now, frozen) in [(end + 90 * DAY - 1, 0), (end + 90 * DAY, 1)] {
        retain(&store, now).await;
        assert_eq!(store.count("select count(*) from frozen_days").await, frozen);
    }

    let late = Store::on(on).await;
    late.clock.advance(200 * DAY);
    late.apply(&Made::new(MAY + 60 * SECOND, 10 * SECOND, 1).messages()).await;
    let stored = late.clock.now();
    for (now, frozen) in [(stored + 7 * DAY - 1, 0), (stored + 7 * DAY, 1)] {
        retain(&late, now).await;
        assert_eq!(late.count("select count(*) from frozen_days").await, frozen, "a week after it was stored");
    }
}

async fn a_frozen_day_is_final_and_its_neighbours_are_not_disturbed(on: Engine) {
    let store = Store::on(on).await;
    let (first, second) =
        (Made::new(MAY + DAY - 30 * SECOND, 25 * SECOND, 1), Made::new(MAY + DAY + 60 * SECOND, 10 * SECOND, 2));
    store.apply(&first.messages()).await;
    store.apply(&second.messages()).await;
    let whole = (MAY, MAY + 2 * DAY);
    let before = store.dump(whole.0, whole.1).await;
    let revision = before[0].clone();
    retain(&store, MAY + DAY + 90 * DAY).await;
    let mut tx = store.db.read().await.unwrap();
    let roof = source(&mut tx, SourceKind::Sensor, "roof").await.unwrap().unwrap();
    assert_eq!(frozen_days(&mut tx, roof.id, MAY, MAY + 2 * DAY).await.unwrap(), [MAY / DAY]);
    assert_eq!(frozen_days(&mut tx, roof.id, MAY + DAY, MAY + 2 * DAY).await.unwrap(), [0; 0]);
    drop(tx);
    let after = store.dump(whole.0, whole.1).await;
    assert_eq!(coarse(after.clone()), coarse(before));
    assert_ne!(after[0], revision, "a frozen day is part of the revision");

    // A repeat has no effect; something new of that day fails; what only ends in it leaves it as it is.
    store.apply(&first.messages()).await;
    assert_eq!(store.dump(whole.0, whole.1).await, after);
    let refused = Made::new(MAY + 100 * SECOND, 10 * SECOND, 3);
    store.apply(&refused.messages()).await;
    let failed = store.status(&refused).await.unwrap();
    assert_eq!((failed.status, failed.reason.as_deref()), (Status::Failed, Some("older than what this sensor keeps")));
    let spills = Made::new(MAY - 5 * SECOND, 10 * SECOND, 4);
    store.apply(&spills.messages()).await;
    assert_eq!(store.status(&spills).await.unwrap().status, Status::Stored);
    let frozen_day = |dump: Vec<String>| coarse(dump).into_iter().collect::<Vec<_>>();
    assert_eq!(
        frozen_day(store.dump(MAY, MAY + DAY).await),
        frozen_day(after.clone())
            .into_iter()
            .filter(|line| {
                let time: Micros = line.split(' ').nth(3).unwrap().parse().unwrap();
                time < MAY + DAY
            })
            .collect::<Vec<_>>()
    );
    let mut tx = store.db.read().await.unwrap();
    assert_eq!(spans(&mut tx, roof.id, MAY - DAY, MAY + SECOND).await.unwrap()[0].finish, MAY);
}

async fn the_first_seconds_of_a_day_look_back_into_a_frozen_one(on: Engine) {
    let disturbed = Store::on(on).await;
    let before_midnight = Made::new(MAY + DAY - 10 * SECOND, 10 * SECOND, 1);
    disturbed.apply(&before_midnight.messages()).await;
    retain(&disturbed, MAY + DAY + 90 * DAY).await;
    let after_midnight = Made::new(MAY + DAY, 10 * SECOND, 2);
    disturbed.apply(&after_midnight.messages()).await;
    let undisturbed = Store::on(on).await;
    undisturbed.apply(&before_midnight.messages()).await;
    undisturbed.apply(&after_midnight.messages()).await;
    let next_day = |dump: Vec<String>| {
        dump.into_iter().filter(|line| line.contains(" 1s ") || line.contains(" 1d ")).collect::<Vec<_>>()
    };
    let range = (MAY + DAY, MAY + 2 * DAY);
    assert_eq!(next_day(disturbed.dump(range.0, range.1).await), next_day(undisturbed.dump(range.0, range.1).await));
}

async fn old_previews_events_and_parts_go(on: Engine) {
    let store = Store::on(on).await;
    let now = store.clock.now();
    store.apply(&Made { parts: 2, ..Made::new(MAY, 10 * SECOND, 1) }.messages()).await;
    store.apply(&Made { parts: 2, ..Made::new(MAY + 60 * SECOND, 10 * SECOND, 2) }.messages()[..1]).await;
    let previews = "select count(*) from blocks join layers on layers.id = blocks.layer where layers.layer = 'preview'";
    let others = "select count(*) from blocks join layers on layers.id = blocks.layer where layers.layer <> 'preview'";
    let (kept, events) = (store.count(others).await, store.count("select count(*) from changes").await);
    assert!(store.count(previews).await > 0 && events > 0 && kept > 0);
    retain(&store, now + DAY).await;
    assert_eq!(store.count(previews).await, 0);
    assert_eq!((store.count(others).await, store.count("select count(*) from changes").await), (kept, events));
    retain(&store, now + DAY + 1).await;
    assert_eq!(store.count("select count(*) from changes").await, 0);
    assert_eq!(store.count("select count(*) from staged_results").await, 1);
    retain(&store, now + 30 * DAY + 1).await;
    assert_eq!(store.count("select count(*) from staged_results").await, 0);
}

async fn a_deleted_sensor_starts_anew_and_leaves_nothing(on: Engine) {
    let store = Store::on(on).await;
    let made = Made { parts: 2, ..Made::new(MAY, 70 * SECOND, 1) };
    store.apply(&made.messages()).await;
    store.roll_up().await;
    let first = store.dump(MAY - DAY, MAY + DAY).await;
    let mut tx = store.db.write().await.unwrap();
    delete_sensor(&mut tx, "roof").await.unwrap();
    tx.commit().await.unwrap();
    assert!(store.dump(MAY - DAY, MAY + DAY).await.is_empty());
    assert_eq!(store.status(&made).await, None);
    store.apply(&made.messages()).await;
    assert_eq!(store.dump(MAY - DAY, MAY + DAY).await, first, "the same audio is welcome again");
    retain(&store, store.clock.now()).await;
    assert_eq!(store.dump(MAY - DAY, MAY + DAY).await, first, "what is removed is the old one's");

    let mut tx = store.db.write().await.unwrap();
    delete_sensor(&mut tx, "roof").await.unwrap();
    tx.commit().await.unwrap();
    retain(&store, store.clock.now()).await;
    for table in ["sources", "recordings", "results", "blocks", "cells", "stale", "spans", "annotations", "changes"] {
        assert_eq!(store.count(format!("select count(*) from {table}").leak()).await, 0, "{table}");
    }
}
