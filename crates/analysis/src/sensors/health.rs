//! How a sensor is doing.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{DbError, ReadTransaction, Statement};
use antiphon_platform::http::time;
use antiphon_platform::sql;
use chrono::{DateTime, Days, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::store::{SourceKind, Span, last_span, source, spans};

/// The smallest delay per minute of arrival: `$1` the source, `$2` the first minute.
pub(super) const ARRIVALS: Statement = sql!("arrivals.sql");

/// A sensor is live while audio that ended this long ago is stored.
const LIVE: Micros = 60 * SECOND;

/// A sensor is silent when nothing arrived for this long.
const SILENT: Micros = 300 * SECOND;

/// The time over which the clock skew is the smallest delay.
const SKEW_OVER: Micros = 600 * SECOND;

/// A delay that falls by more than this from one minute to the next is a spool being emptied, not a clock.
const SPOOL_FALL: Micros = 5 * SECOND;

/// The longest delay that the first minute after a silence may show without being taken for a spool.
const FIRST_DELAY: Micros = 60 * SECOND;

/// How a sensor is doing.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `live`: audio that ended at most 60 s ago is stored; `late`: something arrived in the last 5 minutes, but
    /// older audio; `silent`: nothing for 5 minutes; `never`.
    #[schema(example = "live")]
    pub status: &'static str,
    /// End of the newest stored audio, UTC.
    #[schema(example = "2026-05-01T00:00:01.000000Z")]
    pub last_heard: Option<String>,
    /// The smallest arrival minus end over 10 minutes, in ms; null while a spool is emptied or nothing arrives.
    #[schema(example = 212)]
    pub clock_skew_ms: Option<i64>,
    /// Seconds heard since midnight in the sensor's time zone.
    #[schema(example = 43_199.5)]
    pub seconds_today: f64,
    /// Number of gaps from that midnight to now.
    #[schema(example = 1)]
    pub gaps_today: u64,
}

/// The health of a sensor at `now`, its day by its time zone.
pub(super) async fn health(
    tx: &mut ReadTransaction,
    sensor: &str,
    timezone: Option<&str>,
    now: Micros,
) -> Result<Health, DbError> {
    let midnight = midnight(timezone.and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC), now);
    let Some(source) = source(tx, SourceKind::Sensor, sensor).await? else {
        let (seconds_today, gaps_today) = today(&[], midnight, now);
        return Ok(Health { status: "never", last_heard: None, clock_skew_ms: None, seconds_today, gaps_today });
    };
    let heard = last_span(tx, source.id).await?.map(|span| span.finish);
    let status = match (heard, source.last_arrival) {
        (Some(heard), _) if now - heard <= LIVE => "live",
        (_, Some(arrival)) if now - arrival <= SILENT => "late",
        (None, None) => "never",
        _ => "silent",
    };
    let since = (now - SKEW_OVER).div_euclid(60 * SECOND);
    let mut delays = Vec::new();
    for row in tx.rows(&ARRIVALS, &[source.id.into(), since.into()]).await? {
        delays.push(row.get(1)?);
    }
    let spans = if midnight < now { spans(tx, source.id, midnight, now).await? } else { Vec::new() };
    let (seconds_today, gaps_today) = today(&spans, midnight, now);
    Ok(Health {
        status,
        last_heard: heard.map(time::format),
        clock_skew_ms: skew(&delays).map(|skew| (skew as f64 / 1e3).round() as i64),
        seconds_today,
        gaps_today,
    })
}

/// The smallest of the delays by minute, oldest first, unless the newest shows that a spool is being emptied.
fn skew(delays: &[Micros]) -> Option<Micros> {
    let emptying = match delays {
        [] => return None,
        [only] => *only > FIRST_DELAY,
        [.., before, newest] => *newest < before - SPOOL_FALL,
    };
    if emptying { None } else { delays.iter().min().copied() }
}

/// Seconds heard in `[from, now)`, and the number of gaps in it.
fn today(spans: &[Span], from: Micros, now: Micros) -> (f64, u64) {
    let (mut heard, mut gaps, mut end) = (0, 0, from);
    for span in spans {
        let (start, finish) = (span.start.max(from), span.finish.min(now));
        if start >= finish {
            continue;
        }
        gaps += u64::from(start > end);
        heard += finish - start;
        end = finish;
    }
    gaps += u64::from(end < now);
    (heard as f64 / 1e6, gaps)
}

/// The first instant of the day that `now` lies in, in `zone`, µs since 1970.
fn midnight(zone: Tz, now: Micros) -> Micros {
    let day_of = |time: Micros| DateTime::<Utc>::from_timestamp_micros(time).map(|time| time.with_timezone(&zone));
    let Some(today) = day_of(now).map(|local| local.date_naive()) else { return now };
    let midnight = zone.from_local_datetime(&today.and_time(NaiveTime::MIN)).earliest();
    // Where clocks are put forward at midnight the day begins later: at the end of the day before.
    midnight
        .or_else(|| {
            let noon_before = today.checked_sub_days(Days::new(1))?.and_hms_opt(12, 0, 0)?;
            let noon_before = zone.from_local_datetime(&noon_before).earliest()?.timestamp();
            // Offsets change on whole minutes.
            (0..24 * 60)
                .filter_map(|minute| DateTime::from_timestamp(noon_before + minute * 60, 0))
                .map(|instant| instant.with_timezone(&zone))
                .find(|local| local.date_naive() == today)
        })
        .map_or(now, |midnight| midnight.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        time::parse(text).unwrap()
    }

    #[test]
    fn the_day_begins_by_the_zone_of_the_sensor() {
        let cases = [
            (Tz::UTC, "2026-05-01T12:00:00Z", "2026-05-01T00:00:00Z"),
            (Tz::Europe__Berlin, "2026-05-01T21:59:59Z", "2026-05-01T00:00:00+02:00"),
            (Tz::Europe__Berlin, "2026-05-01T22:00:00Z", "2026-05-02T00:00:00+02:00"),
            (Tz::Asia__Kolkata, "2026-05-01T00:00:00Z", "2026-05-01T00:00:00+05:30"),
            // Clocks go forward from 24:00 to 01:00, so this day begins at 01:00.
            (Tz::Africa__Cairo, "2026-04-24T12:00:00Z", "2026-04-24T01:00:00+03:00"),
        ];
        for (zone, now, begin) in cases {
            assert_eq!(midnight(zone, at(now)), at(begin), "{zone} {now}");
        }
    }

    #[test]
    fn gaps_lie_before_between_and_after() {
        let span = |start: i64, finish: i64| Span { start: start * SECOND, finish: finish * SECOND };
        assert_eq!(today(&[], 0, 10 * SECOND), (0.0, 1));
        assert_eq!(today(&[span(-5, 15)], 0, 10 * SECOND), (10.0, 0));
        assert_eq!(today(&[span(1, 2), span(4, 9)], 0, 10 * SECOND), (6.0, 3));
        assert_eq!(today(&[span(0, 2), span(4, 10)], 0, 10 * SECOND), (8.0, 1));
        assert_eq!(today(&[], 5, 5), (0.0, 0));
    }

    #[test]
    fn a_spool_that_is_emptied_is_no_skew() {
        let seconds = |list: &[i64]| list.iter().map(|delay| delay * SECOND).collect::<Vec<_>>();
        assert_eq!(skew(&[]), None);
        assert_eq!(skew(&seconds(&[1, 2, 1])), Some(SECOND));
        assert_eq!(skew(&seconds(&[-30])), Some(-30 * SECOND));
        assert_eq!(skew(&seconds(&[600])), None, "the first after a silence");
        assert_eq!(skew(&seconds(&[600, 400, 100])), None);
        assert_eq!(skew(&seconds(&[600, 400, 1, 1])), Some(SECOND));
        assert_eq!(skew(&seconds(&[120, 121])), Some(120 * SECOND), "a clock that is two minutes behind");
    }
}
