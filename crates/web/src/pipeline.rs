//! What the pipeline is doing, read from the API's own metrics.

use std::collections::BTreeMap;

use antiphon_platform::clock::Micros;
use http::Method;
use maud::{Markup, html};
use serde::Serialize;

use crate::Web;
use crate::failure::Failure;
use crate::visitor::Visitor;
use crate::words;

/// Figures at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pipeline {
    /// Messages that wait for workers, of all groups.
    pub waiting: u64,
    /// Messages that are worked on.
    pub in_work: u64,
    /// Age of the oldest that waits, in seconds.
    pub oldest: f64,
    /// Dead letters that are not in the database yet.
    pub dying: u64,
    /// Recordings accepted since the server started.
    pub accepted: u64,
}

impl Pipeline {
    /// Asks for it.
    ///
    /// # Errors
    /// Those of the API.
    pub async fn ask(web: &Web, visitor: &Visitor) -> Result<Self, Failure> {
        let body = web.api().bytes(visitor, Method::GET, "/metrics").await?;
        Ok(Self::read(&String::from_utf8_lossy(&body)))
    }

    fn read(text: &str) -> Self {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        let mut oldest = 0.0f64;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let name = series.split('{').next().unwrap_or_default();
            *sums.entry(name).or_default() += value;
            if name == "antiphon_queue_oldest_seconds" {
                oldest = oldest.max(value);
            }
        }
        let whole = |name: &str| sums.get(name).map_or(0, |value| value.max(0.0) as u64);
        Self {
            waiting: whole("antiphon_queue_waiting"),
            in_work: whole("antiphon_queue_in_flight"),
            oldest,
            dying: whole("antiphon_queue_dead"),
            accepted: whole("antiphon_recordings_accepted_total"),
        }
    }

    /// The figures as a page tells them; scripts keep them up to date.
    pub fn show(&self) -> Markup {
        html! {
            dl.figures #pipeline {
                div { dt { "Waiting" } dd data-figure="waiting" { (words::count(self.waiting)) } }
                div { dt { "Being analysed" } dd data-figure="in_work" { (words::count(self.in_work)) } }
                div { dt { "Oldest waits" } dd data-figure="oldest" { (words::decimal(self.oldest, 1)) " s" } }
                div { dt { "Received since start" } dd data-figure="accepted" { (words::count(self.accepted)) } }
            }
        }
    }
}

/// Recordings a second between two moments.
#[must_use]
pub fn rate(before: (Micros, u64), now: (Micros, u64)) -> f64 {
    let seconds = (now.0 - before.0) as f64 / 1e6;
    if seconds <= 0.0 || now.1 < before.1 { 0.0 } else { (now.1 - before.1) as f64 / seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_all_groups_are_added() {
        let text = "# TYPE antiphon_queue_waiting gauge\nantiphon_queue_waiting{group=\"analyze\"} 3\n\
                    antiphon_queue_waiting{group=\"write\"} 4\nantiphon_queue_oldest_seconds{group=\"a b\"} 0.25\n\
                    antiphon_queue_oldest_seconds{group=\"write\"} 1.5\nantiphon_recordings_accepted_total 1e3\nbroken\n";
        let read = Pipeline::read(text);
        assert_eq!((read.waiting, read.oldest, read.accepted, read.in_work), (7, 1.5, 1_000, 0));
        assert!(read.show().into_string().contains("1,000"));
    }

    #[test]
    fn a_rate_is_never_negative() {
        assert_eq!(rate((0, 10), (2_000_000, 14)), 2.0);
        assert_eq!(rate((0, 10), (2_000_000, 1)), 0.0, "the server was started again");
        assert_eq!(rate((5, 10), (5, 11)), 0.0);
    }
}
