//! Answers are a function of the set of recordings.

use proptest::prelude::*;

use super::*;

/// Recordings around a minute, with jitter, gaps, overlaps, long ones in pieces, results in parts.
fn recordings() -> impl Strategy<Value = Vec<Made>> {
    let length = prop_oneof![Just(10 * SECOND), 1..=3 * SECOND, 3 * SECOND..=75 * SECOND];
    let shift = prop_oneof![
        3 => -20_000..=20_000_i64,
        1 => -9 * SECOND..=9 * SECOND,
        1 => Just(60 * SECOND),
        1 => Just(3_700 * SECOND),
    ];
    let one = (shift, length, 0..3_u64, 1..=3_usize, prop::collection::vec(1..70_i64, 0..3));
    (MAY - 90 * SECOND..MAY + 90 * SECOND, prop::collection::vec(one, 1..12)).prop_map(|(start, list)| {
        let mut next = start;
        list.into_iter()
            .map(|(shift, length, seed, parts, mut cuts)| {
                let start = next + shift;
                next = start + length;
                cuts.sort_unstable();
                cuts.dedup();
                let cuts = cuts.into_iter().map(|cut| (start.div_euclid(SECOND) + cut) * SECOND).collect();
                Made { parts, cuts, ..Made::new(start, length, seed) }
            })
            .collect()
    })
}

fn shuffled(mut messages: Vec<Message>, seed: u64) -> Vec<Message> {
    let mut state = seed | 1;
    for index in (1..messages.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        messages.swap(index, (state >> 33) as usize % (index + 1));
    }
    messages
}

fn run(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(case);
}

/// Applies the same messages in another order, twice, by two writers, with roll-ups in between; what can be read is the
/// same, byte for byte, as after applying them once in order on SQLite.
async fn check_purity(other: Store, made: &[Made], seed: u64, batch: usize) {
    let (from, to) = (MAY - 86_400 * SECOND, MAY + 2 * 86_400 * SECOND);
    let straight = Store::new().await;
    let messages: Vec<Message> = made.iter().flat_map(Made::messages).collect();
    straight.apply(&messages).await;
    let expected = straight.dump(from, to).await;

    let second_writer = Database::open(other.url.as_str(), &migrations()).await.unwrap();
    let mut twice = shuffled(messages.clone(), seed);
    twice.extend(shuffled(messages, seed ^ 1));
    for (index, batch) in twice.chunks(batch).enumerate() {
        let db = if index % 2 == 0 { &other.db } else { &second_writer };
        apply_messages(db, &other.clock, batch).await.unwrap();
        if index % 3 == 0 {
            rollup::round(db, i64::MAX).await.unwrap();
        }
    }
    assert_eq!(other.dump(from, to).await, expected, "while some cells are stale");
    other.roll_up().await;
    assert_eq!(other.count("select count(*) from stale").await, 0);
    assert_eq!(other.dump(from, to).await, expected, "from rows");
    for made in made {
        assert_eq!(other.status(made).await.unwrap().status, Status::Stored);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_server_gives_the_same_bytes_as_a_file(made in recordings(), seed in any::<u64>(), batch in 1..7_usize) {
        run(async { check_purity(Store::on(Engine::Postgres).await, &made, seed, batch).await });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_repeats_batches_writers_and_roll_ups_do_not_show(
        made in recordings(),
        seed in any::<u64>(),
        batch in 1..7_usize,
    ) {
        run(async { check_purity(Store::new().await, &made, seed, batch).await });
    }

    #[test]
    fn spans_are_the_intervals_with_holes_of_20_ms_closed(made in recordings()) {
        run(async {
            let store = Store::new().await;
            for made in &made {
                store.apply(&made.messages()).await;
            }
            let mut tx = store.db.read().await.unwrap();
            let source = source(&mut tx, SourceKind::Sensor, "roof").await.unwrap().unwrap();
            let found = spans(&mut tx, source.id, i64::MIN / 2, i64::MAX / 2).await.unwrap();
            let within = |start: Micros, finish: Micros| {
                found.iter().filter(|span| span.start <= start && finish <= span.finish).count() == 1
            };
            for a in &made {
                assert!(within(a.start, a.start + a.length));
                for b in &made {
                    let hole = (a.start + a.length, b.start);
                    if hole.0 < hole.1 && hole.1 - hole.0 <= JITTER {
                        assert!(within(hole.0, hole.1), "a hole of {} us is open", hole.1 - hole.0);
                    }
                }
            }
            for pair in found.windows(2) {
                assert!(pair[1].start - pair[0].finish > JITTER);
            }
            for span in &found {
                assert!(made.iter().any(|made| made.start == span.start));
                assert!(made.iter().any(|made| made.start + made.length == span.finish));
            }
        });
    }
}
