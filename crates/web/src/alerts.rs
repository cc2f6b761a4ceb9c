//! Alerts on the pages of what they look at: those that are on, or all of a sensor.

use maud::{Markup, html};
use serde::Deserialize;

use crate::Web;
use crate::model::List;
use crate::paths::{self, and};
use crate::visitor::Visitor;
use crate::words;

/// Alerts that are asked for: those of one sensor, or the first that are on.
const LIMIT: usize = 1_000;

/// An alert, and where it stands.
#[derive(Clone, Debug, Deserialize)]
struct Alert {
    sensor: String,
    name: Option<String>,
    feature: String,
    stat: Option<String>,
    side: String,
    threshold: f64,
    average: u32,
    seconds: u32,
    enabled: bool,
    state: String,
    last_change: Option<Change>,
}

/// Its newest change of state.
#[derive(Clone, Debug, Deserialize)]
struct Change {
    at: String,
    value: f64,
}

impl Alert {
    fn is_on(&self) -> bool {
        self.enabled && self.state == "on"
    }

    fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.feature)
    }

    /// What it looks for: `level.a above -30 for 60 s`, `level.a of 60 s above -30 for 1 s`.
    fn condition(&self) -> String {
        let stat = self.stat.as_deref().map(|stat| format!(" {stat}")).unwrap_or_default();
        let of = if self.average > 1 { format!(" of {} s", self.average) } else { String::new() };
        format!("{}{stat}{of} {} {} for {} s", self.feature, self.side, self.threshold, self.seconds)
    }
}

/// The alerts that are on, for the first page; nothing if there are none.
pub async fn that_are_on(web: &Web, visitor: &Visitor) -> Markup {
    let found = ask(web, visitor, "&state=on").await;
    // What was switched off while it was on looks at nothing any more.
    let on: Vec<Alert> = found.unwrap_or_default().into_iter().filter(Alert::is_on).collect();
    show_on(&on, &|text| words::when(visitor, text))
}

/// All alerts of a sensor; nothing if it has none.
pub async fn of_sensor(web: &Web, visitor: &Visitor, sensor: &str) -> Markup {
    match ask(web, visitor, &and("sensor", Some(sensor))).await {
        Some(alerts) => show_all(&alerts, &|text| words::when(visitor, text)),
        None => html! { p.quiet { "Its alerts cannot be read now." } },
    }
}

async fn ask(web: &Web, visitor: &Visitor, of: &str) -> Option<Vec<Alert>> {
    let found: Result<List<Alert>, _> = web.api().get(visitor, &format!("/api/v1/alerts?limit={LIMIT}{of}")).await;
    found.ok().map(|list| list.items)
}

/// How an instant of the API is shown.
type When<'a> = &'a dyn Fn(&str) -> Markup;

fn show_on(alerts: &[Alert], when: When<'_>) -> Markup {
    html! {
        @for alert in alerts {
            p.note {
                span.badge data-status="on" { "Alert" } " "
                a href=(paths::sensor(&alert.sensor)) { bdi { (alert.title()) } }
                ": " (alert.condition()) (since(alert, when))
            }
        }
    }
}

fn show_all(alerts: &[Alert], when: When<'_>) -> Markup {
    html! {
        @if !alerts.is_empty() {
            section aria-labelledby="alerts-title" {
                h2 #alerts-title { "Alerts" }
                ul {
                    @for alert in alerts {
                        li {
                            bdi { (alert.title()) } " "
                            @if alert.is_on() { span.badge data-status="on" { "On" } }
                            @else if alert.enabled { span.badge { "Off" } }
                            @else { span.badge { "Switched off" } }
                            " " (alert.condition()) (since(alert, when))
                        }
                    }
                }
            }
        }
    }
}

fn since(alert: &Alert, when: When<'_>) -> Markup {
    html! {
        @if let Some(change) = &alert.last_change {
            ", since " (when(&change.at)) " (" (words::decimal(change.value, 1)) ")"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(state: &str, enabled: bool) -> Alert {
        let text = format!(
            r#"{{"id":"x","sensor":"roof/1","name":"<b>Loud","feature":"level.a","stat":null,"side":"above","threshold":-30,
               "hysteresis":3,"average":1,"seconds":60,"off_seconds":60,"enabled":{enabled},"state":"{state}","changes":1,
               "last_change":{{"at":"2026-05-01T22:00:00.000000Z","value":-21.46,"state":"{state}"}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn as_it_is(text: &str) -> Markup {
        html! { (text) }
    }

    #[test]
    fn what_is_on_is_told_with_its_condition_and_since_when() {
        let html = show_on(&[alert("on", true)], &as_it_is).into_string();
        assert!(html.contains("&lt;b&gt;Loud") && html.contains("/sensors/roof%2F1"), "{html}");
        assert!(html.contains("level.a above -30 for 60 s, since 2026-05-01T22"), "{html}");
        assert!(html.contains("(−21.5)"), "{html}");
        let mean = Alert { average: 900, ..alert("on", true) };
        assert_eq!(mean.condition(), "level.a of 900 s above -30 for 60 s");
        assert!(!alert("on", false).is_on(), "what is switched off looks at nothing");
        assert_eq!(show_on(&[], &as_it_is).into_string(), "");
    }

    #[test]
    fn all_of_a_sensor_are_shown_with_their_state() {
        let all = [alert("on", true), alert("off", true), alert("on", false)];
        let html = show_all(&all, &as_it_is).into_string();
        assert_eq!(html.matches("<li>").count(), 3, "{html}");
        for word in [">On<", ">Off<", ">Switched off<"] {
            assert!(html.contains(word), "{word}: {html}");
        }
        assert_eq!(show_all(&[], &as_it_is).into_string(), "");
    }
}
