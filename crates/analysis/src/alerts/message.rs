//! What a web hook is sent: JSON of the form `{"type","timestamp","data"}`, as Standard Webhooks recommends.

use antiphon_notify::Notice;
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use serde_json::json;

use super::rows::{Alert, Told};

/// The id of a change's notice.
pub(super) fn notice_id(alert: &str, number: i64) -> String {
    format!("{alert}/{number}")
}

/// The notice of a change. `column` and `unit` are those of its values.
pub(super) fn of_change(alert: &Alert, told: &Told, column: &str, unit: &str, not_before: Micros) -> Notice {
    let change = &told.change;
    let state = if change.is_on { "on" } else { "off" };
    let body = json!({
        "type": format!("alert.{state}"),
        "timestamp": time::format(told.told_at),
        "data": {
            "alert": about(alert, column, unit),
            "number": told.number,
            "state": state,
            "began": time::format(change.began * SECOND),
            "at": time::format((change.last + 1) * SECOND),
            "value": change.value,
            "late": told.is_late,
        },
    });
    let id = notice_id(&alert.id, told.number);
    Notice { id, number: told.number, not_before, test: false, body: body.to_string().into() }
}

/// A notice that says that it is but a test; `mark` makes its id.
pub(super) fn of_test(alert: &Alert, mark: &str, column: &str, unit: &str, now: Micros) -> Notice {
    let body = json!({
        "type": "alert.test",
        "timestamp": time::format(now),
        "data": { "test": true, "alert": about(alert, column, unit) },
    });
    Notice {
        id: format!("{}/test-{mark}", alert.id),
        number: 0,
        not_before: now,
        test: true,
        body: body.to_string().into(),
    }
}

fn about(alert: &Alert, column: &str, unit: &str) -> serde_json::Value {
    let definition = &alert.definition;
    json!({
        "id": alert.id,
        "name": definition.name,
        "sensor": alert.sensor,
        "column": column,
        "unit": unit,
        "side": definition.side,
        "threshold": definition.threshold,
        "hysteresis": definition.hysteresis,
        "average": definition.average,
        "seconds": definition.seconds,
        "off_seconds": definition.off_seconds,
    })
}
