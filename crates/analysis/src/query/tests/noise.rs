//! Noise indicators of days, from the seconds of a sensor to the answer.

use antiphon_features::cells::{Partial, Values, encode_block, layer};
use antiphon_platform::db::Engine;
use chrono_tz::Tz;

use super::*;
use crate::messages;
use crate::query::grid::local_time;
use crate::store::tests::{message, on_both_engines};

const HOUR: Micros = 3_600 * SECOND;
const BERLIN: Tz = Tz::Europe__Berlin;

on_both_engines! {
    a_day_has_its_levels_and_lden,
    clock_changes_lengthen_and_shorten_the_night,
    what_was_not_heard_takes_the_levels_of_its_period,
}

/// A store whose sensor heard `[from, to)` at a level in dB that depends on the hour of Berlin's clock.
async fn heard(on: Engine, spans: &[(Micros, Micros)], level: impl Fn(i64, Micros) -> f64) -> Store {
    let store = filled_on(on, &[]).await;
    // All that is heard here is past.
    store.clock.advance(300 * 24 * HOUR);
    for (number, (from, to)) in spans.iter().enumerate() {
        let layer = layer("level", "main").unwrap();
        let partial = |second: i64| {
            let mut values = vec![f32::NAN; layer.rules().len()];
            let hour = local_time(BERLIN, second * SECOND).div_euclid(HOUR).rem_euclid(24);
            values[layer.field("a").unwrap()] = 10_f64.powf(level(hour, second * SECOND) / 10.0) as f32;
            Partial { second, from: 0, to: 1_000_000, values: Values::Fields { count: 0, values } }
        };
        let partials: Vec<Partial> = (from / SECOND..to / SECOND).map(partial).collect();
        let blocks = partials.chunk_by(|one, other| one.second.div_euclid(60) == other.second.div_euclid(60));
        let block = |partials: &[Partial]| messages::Block {
            algorithm: String::from("level"),
            version: layer.version,
            layer: String::from("main"),
            minute: partials[0].second.div_euclid(60),
            data: encode_block(layer, partials).into(),
            partials: Vec::new(),
        };
        let result = messages::Result {
            kind: messages::SourceKind::Sensor as i32,
            sensor: String::from("roof"),
            id: vec![u8::try_from(number).unwrap(); 20].into(),
            recording_start: *from,
            accepted_at: *to,
            last_piece: true,
            group: String::from("analyze"),
            plan_version: 1,
            parts: 1,
            from: *from,
            to: *to,
            blocks: blocks.map(block).collect(),
            ..messages::Result::default()
        };
        store.apply(&[message(&result)]).await;
    }
    store
}

/// The row of each day: start, coverage, Lday, Levening, Lnight, Lden.
async fn days(store: &Store, from: Micros, to: Micros) -> Vec<(String, f64, [Option<f64>; 4])> {
    let query = format!("{ROOF}/features?{}&tz=Europe/Berlin&stat=lday,levening,lnight,lden", range(from, to));
    let page = get(store, &query).await;
    assert_eq!(page["resolution"], "1d", "there is no finer one");
    let names: Vec<&str> = page["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names[2..], ["level.a:lday", "level.a:levening", "level.a:lnight", "level.a:lden"]);
    // What is read from rows is what is made of what is marked stale.
    store.roll_up().await;
    assert_eq!(get(store, &query).await["rows"], page["rows"]);
    let row = |row: &Value| {
        let start = row[0].as_str().unwrap()[..16].to_owned();
        (start, row[1].as_f64().unwrap(), [2, 3, 4, 5].map(|place| row[place].as_f64()))
    };
    page["rows"].as_array().unwrap().iter().map(row).collect()
}

#[track_caller]
fn near(found: [Option<f64>; 4], expected: [Option<f64>; 4]) {
    for (found, expected) in found.into_iter().zip(expected) {
        let is_near = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1e-3,
            (found, expected) => found == expected,
        };
        assert!(is_near, "{found:?} is not {expected:?}");
    }
}

fn at(text: &str) -> Micros {
    time::parse(text).unwrap()
}

async fn a_day_has_its_levels_and_lden(on: Engine) {
    let (from, to) = (at("2026-04-30T22:00:00Z"), at("2026-05-01T22:00:00Z"));
    let store = heard(on, &[(from, to)], |hour, _| match hour {
        7..=18 => -40.0,
        19..=22 => -47.0,
        _ => -55.0,
    })
    .await;
    let found = days(&store, from, to).await;
    assert_eq!((found.len(), found[0].0.as_str(), found[0].1), (1, "2026-04-30T22:00", 1.0));
    // 10 lg ((12 x 10^-4 + 4 x 10^-4.2 + 8 x 10^-4.5) / 24) = 10 lg (1.2e-3 + 2.523829e-4 + 2.529822e-4) / 24) = -41.4839.
    near(found[0].2, [Some(-40.0), Some(-47.0), Some(-55.0), Some(-41.4839)]);
    // By the clock of UTC other hours are day, and the first and the last hours belong to two days.
    let utc = get(&store, &format!("{ROOF}/features?{}&stat=lday,lden", range(from, to))).await;
    assert_eq!(utc["rows"].as_array().unwrap().len(), 2);
    // 07:00 to 17:00 UTC are day in Berlin too; the last two hours are evening there: 10 lg ((10 x 10^-4 + 2 x 10^-4.7) / 12).
    let lday = utc["rows"][1][2].as_f64().unwrap();
    assert!((lday + 40.6219).abs() < 1e-3, "{lday}");
    assert_eq!(utc["rows"][0][2], Value::Null, "nothing of the day before was heard in its day");
}

async fn clock_changes_lengthen_and_shorten_the_night(on: Engine) {
    // tzdata: Berlin changes at 01:00 UTC on 2026-03-29 and 2026-10-25.
    for (from, to, change, night) in [
        // 3 h of -55 dB and 4 h of -49: 10 lg ((3 x 10^-5.5 + 4 x 10^-4.9) / 7).
        ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-29T01:00:00Z", -50.6808),
        // 4 h of -55 dB (00 to 03 of summer time, and 23 to 24) and 5 h of -49: 10 lg ((4 x 10^-5.5 + 5 x 10^-4.9) / 9).
        ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-25T01:00:00Z", -50.7575),
    ] {
        let (from, to, change) = (at(from), at(to), at(change));
        let store = heard(on, &[(from, to)], |hour, time| match hour {
            7..=18 => -40.0,
            19..=22 => -47.0,
            23 => -55.0,
            _ if time < change => -55.0,
            _ => -49.0,
        })
        .await;
        let found = days(&store, from, to).await;
        assert_eq!((found.len(), found[0].1), (1, 1.0));
        let den = 12.0 * 10_f64.powf(-4.0) + 4.0 * 10_f64.powf(-4.2) + 8.0 * 10_f64.powf((night + 10.0) / 10.0);
        near(found[0].2, [Some(-40.0), Some(-47.0), Some(night), Some(10.0 * (den / 24.0).log10())]);
    }
}

async fn what_was_not_heard_takes_the_levels_of_its_period(on: Engine) {
    let midnight = at("2026-04-30T22:00:00Z");
    let hour = |hour: i64| midnight + hour * HOUR;
    // On the first day 3 of 12 h of the day are missing, and 2 of 4 of the evening; on the second all but the evening.
    let spans = [(hour(0), hour(8)), (hour(11), hour(20)), (hour(22), hour(24)), (hour(24 + 19), hour(24 + 23))];
    let store = heard(on, &spans, |_, _| -50.0).await;
    let found = days(&store, hour(0), hour(48)).await;
    assert_eq!(found.iter().map(|day| day.1).collect::<Vec<_>>(), [0.791_667, 0.166_667]);
    near(found[0].2, [Some(-50.0), None, Some(-50.0), None]);
    near(found[1].2, [None, Some(-50.0), None, None]);
    // A range that cuts the day says no more of it than it holds: 8 of 12 h.
    let cut = days(&store, hour(11), hour(48)).await;
    near(cut[0].2, [None, None, None, None]);
    let with_gaps = format!("{ROOF}/features?{}&tz=Europe/Berlin&stat=leq,lden&fill=gaps", range(hour(0), hour(96)));
    let rows = get(&store, &with_gaps).await["rows"].clone();
    assert_eq!(rows[3], serde_json::json!(["2026-05-03T22:00:00.000000Z", 0.0, null, null]));
}
