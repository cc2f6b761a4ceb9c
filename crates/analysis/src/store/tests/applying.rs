//! What one result does, how often it comes, and where it fails.

use std::sync::{Arc, Mutex};

use antiphon_platform::queue::{Delivery, QueueError, Settle};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::store::writer::settle_batch;

const TO: Micros = MAY + 86_400 * SECOND;

fn ten_seconds(seed: u64) -> Made {
    Made::new(MAY + 1_234_567, 10 * SECOND, seed)
}

on_both_engines! {
    a_result_is_applied_once,
    whatever_statement_fails_nothing_is_half_done,
    a_result_shows_when_its_last_part_is_in,
    a_recording_is_stored_when_all_its_pieces_are,
    the_higher_plan_counts_in_whatever_order_they_come,
    what_decoded_before_a_fault_is_kept_and_a_repair_replaces_it,
    audio_without_a_single_sample_fails_and_leaves_a_gap,
    live_events_are_numbered_by_second_and_resume,
    bad_results_are_set_aside_and_hold_nothing_up,
    a_row_that_was_accepted_before_is_the_same_row,
}

async fn a_result_is_applied_once(on: Engine) {
    let store = Store::on(on).await;
    let messages = ten_seconds(1).messages();
    store.apply(&messages).await;
    let (once, events) = (store.dump(MAY, TO).await, store.count("select sequence from sources").await);
    assert_eq!(events, 14, "11 seconds, and 3 after them whose loudness looks back");
    store.apply(&messages).await;
    store.apply(&[messages.clone(), messages].concat()).await;
    assert_eq!(store.dump(MAY, TO).await, once);
    assert_eq!(store.count("select sequence from sources").await, events, "a repeat is no event");
    assert_eq!(store.count("select count(*) from results").await, 1);
}

async fn whatever_statement_fails_nothing_is_half_done(on: Engine) {
    let first = ten_seconds(1);
    let second = Made { cuts: vec![MAY + 30 * SECOND], parts: 2, ..Made::new(MAY + 11 * SECOND, 40 * SECOND, 2) };
    let undisturbed = Store::on(on).await;
    undisturbed.apply(&first.messages()).await;
    undisturbed.apply(&second.messages()).await;
    let expected = undisturbed.dump(MAY, TO).await;

    let store = Store::on(on).await;
    store.apply(&first.messages()).await;
    let before = store.dump(MAY, TO).await;
    let steps = [
        ("insert", "recordings"),
        ("update", "recordings"),
        ("insert", "results"),
        ("insert", "staged_results"),
        ("delete", "staged_results"),
        ("insert", "blocks"),
        ("insert", "annotations"),
        ("insert", "spans"),
        ("update", "spans"),
        ("insert", "changes"),
        ("insert", "stale"),
        ("update", "sources"),
    ];
    for (what, table) in steps {
        store.break_at(what, table).await;
        let failed = apply_messages(&store.db, &store.clock, &second.messages()).await;
        assert!(failed.is_err(), "{what} {table} was never reached");
        assert_eq!(store.dump(MAY, TO).await, before, "after a failure to {what} {table}");
        store.mend(table).await;
    }
    store.apply(&second.messages()).await;
    assert_eq!(store.dump(MAY, TO).await, expected);
}

async fn a_result_shows_when_its_last_part_is_in(on: Engine) {
    let store = Store::on(on).await;
    let made = Made { parts: 3, ..ten_seconds(1) };
    let messages = made.messages();
    store.apply(&[messages[2].clone(), messages[0].clone(), messages[0].clone()]).await;
    assert_eq!(store.count("select count(*) from blocks").await, 0);
    assert_eq!(store.status(&made).await.unwrap().status, Status::Accepted);
    store.apply(&messages[1..2]).await;
    assert_eq!(store.status(&made).await.unwrap().status, Status::Stored);
    assert_eq!(store.count("select count(*) from staged_results").await, 0);
    let whole = Store::on(on).await;
    whole.apply(&ten_seconds(1).messages()).await;
    let lines = |dump: Vec<String>| dump.into_iter().skip(1).collect::<Vec<_>>();
    assert_eq!(lines(store.dump(MAY, TO).await), lines(whole.dump(MAY, TO).await), "but for the revision");
}

async fn a_recording_is_stored_when_all_its_pieces_are(on: Engine) {
    let store = Store::on(on).await;
    let cuts = vec![MAY + 20 * SECOND, MAY + 40 * SECOND];
    let made = Made { cuts, ..Made::new(MAY + 1, 59 * SECOND, 1) };
    let messages = made.messages();
    for index in [2, 0] {
        store.apply(&messages[index..=index]).await;
        assert_eq!(store.status(&made).await.unwrap().status, Status::Accepted);
    }
    let mut tx = store.db.read().await.unwrap();
    let source = source(&mut tx, SourceKind::Sensor, "roof").await.unwrap().unwrap();
    assert_eq!(spans(&mut tx, source.id, MAY, TO).await.unwrap().len(), 2, "what is missing is a gap until it comes");
    drop(tx);
    store.apply(&messages[1..2]).await;
    let stored = store.status(&made).await.unwrap();
    assert_eq!((stored.status, stored.finish), (Status::Stored, made.start + made.length));
}

async fn the_higher_plan_counts_in_whatever_order_they_come(on: Engine) {
    let old = Made { cuts: vec![MAY + 5 * SECOND], parts: 2, ..ten_seconds(1) };
    let new = Made { plan: 2, ..old.clone() };
    let only_new = Store::on(on).await;
    only_new.apply(&new.messages()).await;
    let expected = only_new.dump(MAY, TO).await;
    for order in [[&old, &new], [&new, &old]] {
        let store = Store::on(on).await;
        for made in order {
            for message in made.messages() {
                store.apply(&[message]).await;
            }
        }
        assert_eq!(store.dump(MAY, TO).await, expected);
        store.roll_up().await;
        assert_eq!(store.dump(MAY, TO).await, expected);
    }
}

async fn what_decoded_before_a_fault_is_kept_and_a_repair_replaces_it(on: Engine) {
    let store = Store::on(on).await;
    let broken = Made { fault: "the file ends in the middle of a frame", ..ten_seconds(1) };
    store.apply(&broken.messages()).await;
    let failed = store.status(&broken).await.unwrap();
    assert_eq!((failed.status, failed.partial, failed.reason.as_deref()), (Status::Failed, true, Some(broken.fault)));
    let mut tx = store.db.read().await.unwrap();
    let source = source(&mut tx, SourceKind::Sensor, "roof").await.unwrap().unwrap();
    assert_eq!(spans(&mut tx, source.id, MAY, TO).await.unwrap().len(), 1);
    drop(tx);
    store.apply(&ten_seconds(1).messages()).await;
    let stored = store.status(&broken).await.unwrap();
    assert_eq!((stored.status, stored.partial, stored.reason), (Status::Stored, false, None));
    let undisturbed = Store::on(on).await;
    undisturbed.apply(&ten_seconds(1).messages()).await;
    assert_eq!(store.dump(MAY, TO).await, undisturbed.dump(MAY, TO).await);
    store.apply(&broken.messages()).await;
    assert_eq!(store.status(&broken).await.unwrap().status, Status::Stored, "a late repeat of the broken result");
}

async fn audio_without_a_single_sample_fails_and_leaves_a_gap(on: Engine) {
    let store = Store::on(on).await;
    let nothing = Made { fault: "no audio", length: 0, ..ten_seconds(1) };
    store.apply(&nothing.messages()).await;
    let failed = store.status(&nothing).await.unwrap();
    assert_eq!((failed.status, failed.partial), (Status::Failed, false));
    assert_eq!(store.count("select count(*) from spans").await, 0);
}

async fn live_events_are_numbered_by_second_and_resume(on: Engine) {
    let store = Store::on(on).await;
    store.apply(&Made::new(MAY, 2 * SECOND, 1).messages()).await;
    store.apply(&Made::new(MAY + 100 * SECOND, SECOND, 1).messages()).await;
    let mut tx = store.db.read().await.unwrap();
    let source = source(&mut tx, SourceKind::Sensor, "roof").await.unwrap().unwrap();
    let all = changes_since(&mut tx, source.id, 0, 10).await.unwrap();
    let second = MAY / SECOND;
    let back = all[0].last - all[0].first - 1;
    assert_eq!((all[0].first, all[0].sequence), (second, 2 + back), "{all:?}");
    assert_eq!(all[1].first, second + 100);
    assert_eq!(changes_since(&mut tx, source.id, 2 + back, 10).await.unwrap(), all[1..]);
    assert!(can_resume(&mut tx, &source, 0).await.unwrap());
    assert!(can_resume(&mut tx, &source, source.sequence).await.unwrap());
    assert!(!can_resume(&mut tx, &source, source.sequence + 1).await.unwrap());
    drop(tx);
    store.execute(format!("delete from changes where sequence = {}", all[0].sequence)).await;
    let mut tx = store.db.read().await.unwrap();
    assert!(can_resume(&mut tx, &source, all[0].sequence).await.unwrap());
    assert!(!can_resume(&mut tx, &source, all[0].sequence - 1).await.unwrap(), "older than what is kept");
}

/// Notes how deliveries were settled.
struct Note(usize, Arc<Mutex<Vec<(usize, String)>>>);

impl Note {
    fn note(&self, how: &str) {
        self.1.lock().unwrap().push((self.0, how.to_owned()));
    }
}

#[async_trait]
impl Settle for Note {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        self.note("ack");
        Ok(())
    }
    async fn retry(self: Box<Self>, reason: String) -> Result<(), QueueError> {
        self.note(&format!("retry: {reason}"));
        Ok(())
    }
    async fn dead(self: Box<Self>, reason: String) -> Result<(), QueueError> {
        self.note(&format!("dead: {reason}"));
        Ok(())
    }
    fn release(self: Box<Self>) {
        self.note("released");
    }
}

async fn settle(store: &Store, messages: Vec<Message>) -> Vec<(usize, String)> {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let deliveries = messages
        .into_iter()
        .enumerate()
        .map(|(index, message)| Delivery::new(message, 1, None, Box::new(Note(index, Arc::clone(&notes)))))
        .collect();
    settle_batch(&store.db, &Partitions::default(), &store.clock, deliveries, &CancellationToken::new()).await;
    let mut notes = std::mem::take(&mut *notes.lock().unwrap());
    notes.sort();
    notes
}

async fn bad_results_are_set_aside_and_hold_nothing_up(on: Engine) {
    let store = Store::on(on).await;
    let good: Vec<Made> = (0..6).map(|index| Made::new(MAY + index * 10 * SECOND, 10 * SECOND, 1)).collect();
    let mut messages: Vec<Message> = good.iter().flat_map(Made::messages).collect();
    let mut rubbish = messages[0].clone();
    rubbish.body = bytes::Bytes::from_static(b"\xff\xff\xff");
    messages.insert(2, rubbish);
    // The same recording under another sensor's name: found only inside the transaction.
    let mut stolen = messages::Result::decode(messages[0].body.clone()).unwrap();
    stolen.sensor = String::from("river");
    messages.insert(4, message(&stolen));
    let mut torn = messages::Result::decode(messages[0].body.clone()).unwrap();
    torn.blocks[0].data = torn.blocks[0].data.slice(..torn.blocks[0].data.len() - 1);
    messages.push(message(&torn));

    let notes = settle(&store, messages).await;
    let dead: Vec<usize> = notes.iter().filter(|(_, how)| how.starts_with("dead: ")).map(|(index, _)| *index).collect();
    assert_eq!(dead, [2, 4, 8], "{notes:?}");
    assert_eq!(notes.iter().filter(|(_, how)| how == "ack").count(), 6);
    for made in &good {
        assert_eq!(store.status(made).await.unwrap().status, Status::Stored);
    }
    assert_eq!(store.count("select count(*) from sources").await, 1);
}

async fn a_row_that_was_accepted_before_is_the_same_row(on: Engine) {
    let store = Store::on(on).await;
    let made = ten_seconds(1);
    let mut tx = store.db.write().await.unwrap();
    let row = Accepted { name: made.name(), sensor: String::from("roof"), start: made.start, accepted_at: MAY };
    accept(&mut tx, &[row.clone(), row]).await.unwrap();
    tx.commit().await.unwrap();
    store.apply(&made.messages()).await;
    let stored = store.status(&made).await.unwrap();
    assert_eq!((stored.status, stored.accepted_at), (Status::Stored, MAY));
    assert_eq!(store.count("select count(*) from recordings").await, 1);
}
