//! When an alert is on: threshold, duration, hysteresis, and what a gap means.
//!
//! The machine takes the values of seconds in the order of time. It knows nothing of stored things: the same seconds lead
//! to the same changes. The value of a second may be that of a [`Window`](super::window::Window) which ends with it.

use serde::{Deserialize, Serialize};

/// The longest hole, in seconds, over which a count goes on.
pub(super) const BRIDGED: i64 = 10;

/// On which side of its threshold a value is beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Larger values are.
    Above,
    /// Smaller values are.
    Below,
}

/// What turns an alert on and off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) side: Side,
    pub(super) threshold: f64,
    /// How far behind the threshold a value must be to count as back, 0 or more.
    pub(super) hysteresis: f64,
    /// Of how many seconds a value is, at least 1.
    pub(super) average: i64,
    /// How long values must be beyond, at least 1.
    pub(super) seconds: i64,
    /// How long they must be back, at least 1.
    pub(super) off_seconds: i64,
}

impl Rule {
    /// Whether a value speaks for the other state than `is_on`.
    fn speaks_for_change(&self, is_on: bool, value: f64) -> bool {
        let (value, threshold) = match self.side {
            Side::Above => (value, self.threshold),
            Side::Below => (-value, -self.threshold),
        };
        if is_on { value <= threshold - self.hysteresis } else { value > threshold }
    }

    fn needed(&self, is_on: bool) -> i64 {
        if is_on { self.off_seconds } else { self.seconds }
    }

    /// How many values before a changed second's must be seen to know what it changes: a count that began earlier than that
    /// has led to a change already, or was broken since. A second that changed changes no value before its own.
    pub(super) fn reach(&self) -> i64 {
        self.seconds.max(self.off_seconds) + BRIDGED
    }

    /// From which second on must be read to know the value of second `from`.
    pub(super) fn reads_from(&self, from: i64) -> i64 {
        from - (self.average - 1)
    }
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) is_on: bool,
    /// The first second of those that led to it.
    pub(super) began: i64,
    /// The last one; with it the duration was over.
    pub(super) last: i64,
    /// The value that was compared in the last one.
    pub(super) value: f64,
}

/// Follows the seconds of one alert.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    rule: Rule,
    is_on: bool,
    /// First and last second of those that speak for a change without one between that does not.
    count: Option<(i64, i64)>,
}

impl Machine {
    pub(super) fn new(rule: Rule, is_on: bool) -> Self {
        Self { rule, is_on, count: None }
    }

    /// The next second that has a value.
    pub(super) fn step(&mut self, second: i64, value: f64) -> Option<Change> {
        if !self.rule.speaks_for_change(self.is_on, value) {
            self.count = None;
            return None;
        }
        let began = match self.count {
            Some((began, last)) if second - last <= 1 + BRIDGED => began,
            _ => second,
        };
        self.count = Some((began, second));
        if second + 1 - began < self.rule.needed(self.is_on) {
            return None;
        }
        self.is_on = !self.is_on;
        self.count = None;
        Some(Change { is_on: self.is_on, began, last: second, value })
    }
}

/// Where an alert stands: what was told, and what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) is_on: bool,
    /// Seconds before this one are decided.
    pub(super) floor: i64,
    /// Seconds before this one have been looked at.
    pub(super) position: i64,
}

/// How much older than the newest second looked at a second may be to be looked at again.
pub(super) const LATE: i64 = 2 * 3_600;

impl Standing {
    /// The seconds whose values count, `[from, to)`, when something changed from second `changed` on and everything before `to` is
    /// heard to its end; `None` if that can change nothing.
    pub(super) fn window(&self, rule: &Rule, changed: i64, to: i64) -> Option<(i64, i64)> {
        let changed = changed.max(self.position - LATE).min(self.position);
        let from = self.floor.max(changed - rule.reach());
        let to = to.max(self.position);
        (from < to && changed < to).then_some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::window::Window;
    use super::*;

    fn rule(seconds: i64, off_seconds: i64) -> Rule {
        Rule { side: Side::Above, threshold: 10.0, hysteresis: 3.0, average: 1, seconds, off_seconds }
    }

    /// The values of seconds `[from, to)`: means of the seconds that there are, by the hand of evaluation.
    fn means(rule: Rule, seconds: &BTreeMap<i64, f64>, from: i64, to: i64) -> Vec<(i64, f64)> {
        let sum = |items: &[&(f64, u64)]| {
            Some(items.iter().fold((0.0, 0), |(sum, count), (more, of)| (sum + more, count + of)))
        };
        let mut window = Window::new(rule.average);
        let mut means = Vec::new();
        for (second, value) in seconds.range(rule.reads_from(from)..to) {
            window.push(*second, Arc::new((*value, 1)));
            let (sum, count) = *window.merged(sum).unwrap();
            if *second >= from && window.is_heard(count * 1_000_000) {
                means.push((*second, sum / count as f64));
            }
        }
        means
    }

    /// All changes that these seconds lead to from `standing` on.
    fn fold(rule: Rule, standing: Standing, seconds: &BTreeMap<i64, f64>) -> Vec<Change> {
        let mut machine = Machine::new(rule, standing.is_on);
        let means = means(rule, seconds, standing.floor, i64::MAX);
        means.into_iter().filter_map(|(second, value)| machine.step(second, value)).collect()
    }

    fn states(changes: &[Change]) -> Vec<(bool, i64, i64)> {
        changes.iter().map(|change| (change.is_on, change.began, change.last)).collect()
    }

    fn all(rule: Rule, values: &[(i64, f64)]) -> Vec<(bool, i64, i64)> {
        let standing = Standing { is_on: false, floor: 0, position: 0 };
        states(&fold(rule, standing, &values.iter().copied().collect()))
    }

    fn row(from: i64, to: i64, value: f64) -> Vec<(i64, f64)> {
        (from..to).map(|second| (second, value)).collect()
    }

    #[test]
    fn it_takes_the_whole_duration_beyond_and_back() {
        let rule = rule(5, 3);
        assert_eq!(all(rule, &row(0, 4, 11.0)), []);
        assert_eq!(all(rule, &row(0, 5, 11.0)), [(true, 0, 4)]);
        assert_eq!(all(rule, &row(0, 50, 10.0)), [], "at the threshold is not beyond it");
        let broken = [row(0, 4, 11.0), row(4, 5, 9.0), row(5, 9, 11.0)].concat();
        assert_eq!(all(rule, &broken), []);
        let between = [row(0, 5, 11.0), row(5, 50, 7.5)].concat();
        assert_eq!(all(rule, &between), [(true, 0, 4)], "between threshold and hysteresis it stays on");
        let back = [row(0, 5, 11.0), row(5, 8, 7.0)].concat();
        assert_eq!(all(rule, &back), [(true, 0, 4), (false, 5, 7)]);
    }

    #[test]
    fn below_is_the_mirror_of_above() {
        let below = Rule { side: Side::Below, threshold: -10.0, ..rule(2, 2) };
        let values = [row(0, 2, -11.0), row(2, 4, -7.5), row(4, 6, -7.0)].concat();
        assert_eq!(all(below, &values), [(true, 0, 1), (false, 4, 5)]);
    }

    #[test]
    fn a_short_gap_is_bridged_and_a_long_one_begins_anew() {
        let rule = rule(15, 3);
        let short = [row(0, 3, 11.0), row(3 + BRIDGED, 5 + BRIDGED, 11.0)].concat();
        assert_eq!(all(rule, &short), [(true, 0, 14)]);
        let long = [row(0, 3, 11.0), row(4 + BRIDGED, 18 + BRIDGED, 11.0)].concat();
        assert_eq!(all(rule, &long), []);
        let alone = [row(0, 1, 11.0), row(10_000, 10_001, 11.0)].concat();
        assert_eq!(all(rule, &alone), [], "a gap alone is no evidence");
    }

    #[test]
    fn a_mean_is_broken_by_no_dip_and_by_a_long_one() {
        let each = Rule { seconds: 60, ..rule(60, 60) };
        let mean = Rule { average: 60, ..rule(1, 1) };
        let street: Vec<(i64, f64)> = (0..600).map(|at| (at, if at % 30 == 29 { 5.0 } else { 16.0 })).collect();
        assert_eq!(all(each, &street), [], "no 60 s without a dip");
        assert_eq!(all(mean, &street), [(true, 29, 29)], "half of the minute says enough");
        let quiet = [street, row(600, 700, 5.0)].concat();
        // At 7 once 10 loud seconds are left in the minute: 49 quiet ones and the dip before them are the rest.
        assert_eq!(all(mean, &quiet), [(true, 29, 29), (false, 648, 648)]);
    }

    #[test]
    fn a_mean_of_less_than_half_counts_not() {
        let mean = Rule { average: 10, ..rule(1, 1) };
        assert_eq!(all(mean, &row(0, 4, 11.0)), []);
        assert_eq!(all(mean, &row(0, 5, 11.0)), [(true, 4, 4)]);
        let after = [row(0, 4, 11.0), row(9, 10, 11.0), row(10, 11, 11.0)].concat();
        assert_eq!(all(mean, &after), [(true, 9, 9)]);
    }

    /// What evaluation does, with seconds that come in pieces: looks at a window, tells, and moves on.
    fn told(rule: Rule, pieces: &[Vec<(i64, f64)>]) -> Vec<Change> {
        let mut stored: BTreeMap<i64, f64> = BTreeMap::new();
        let mut standing = Standing { is_on: false, floor: 0, position: 0 };
        let mut told = Vec::new();
        for piece in pieces {
            stored.extend(piece.iter().copied());
            let Some((changed, _)) = piece.first() else { continue };
            let to = stored.last_key_value().map_or(0, |(last, _)| last + 1);
            let Some((from, to)) = standing.window(&rule, *changed, to) else { continue };
            let mut machine = Machine::new(rule, standing.is_on);
            for (second, value) in means(rule, &stored, from, to) {
                if let Some(change) = machine.step(second, value) {
                    standing = Standing { is_on: change.is_on, floor: change.last + 1, ..standing };
                    told.push(change);
                }
            }
            standing.position = to;
        }
        told
    }

    fn values() -> impl Strategy<Value = BTreeMap<i64, f64>> {
        // Long runs, so that durations are met; some seconds are missing, some stretches are.
        let run = (1_i64..15, prop_oneof![Just(5.0), Just(8.0), Just(12.0)], 0_i64..14, 0_u8..4);
        prop::collection::vec(run, 1..30).prop_map(|runs| {
            let mut at = 0;
            let mut values = BTreeMap::new();
            for (length, value, gap, has_gap) in runs {
                values.extend((at..at + length).map(|second| (second, value)));
                at += length + if has_gap == 0 { gap } else { 0 };
            }
            values
        })
    }

    fn cut(values: &BTreeMap<i64, f64>, lengths: &[usize]) -> Vec<Vec<(i64, f64)>> {
        let mut rest: Vec<(i64, f64)> = values.iter().map(|(second, value)| (*second, *value)).collect();
        let mut pieces = Vec::new();
        let mut lengths = lengths.iter().cycle();
        while !rest.is_empty() {
            let length = (*lengths.next().unwrap_or(&1)).min(rest.len());
            let tail = rest.split_off(length);
            pieces.push(std::mem::replace(&mut rest, tail));
        }
        pieces
    }

    proptest! {
        #[test]
        fn in_order_it_is_the_same_however_the_seconds_are_cut(
            values in values(), lengths in prop::collection::vec(1_usize..20, 1..6), on in 1_i64..20, off in 1_i64..20,
            average in prop_oneof![Just(1_i64), 2_i64..30, 60_i64..130],
        ) {
            let standing = Standing { is_on: false, floor: 0, position: 0 };
            let rule = Rule { average, ..rule(on, off) };
            prop_assert_eq!(told(rule, &cut(&values, &lengths)), fold(rule, standing, &values));
        }

        #[test]
        fn out_of_order_it_is_the_same_from_the_last_told_change_on(
            values in values(), lengths in prop::collection::vec(1_usize..20, 1..6), on in 1_i64..20, off in 1_i64..20,
            average in prop_oneof![Just(1_i64), 2_i64..30, 60_i64..130],
            order in any::<prop::sample::Index>(), again in any::<prop::sample::Index>(), swaps in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..12),
        ) {
            let rule = Rule { average, ..rule(on, off) };
            let mut pieces = cut(&values, &lengths);
            let first = order.index(pieces.len());
            pieces.rotate_left(first);
            for (one, other) in swaps {
                let (one, other) = (one.index(pieces.len()), other.index(pieces.len()));
                pieces.swap(one, other);
            }
            pieces.push(pieces[again.index(pieces.len())].clone());
            let found = told(rule, &pieces);
            // On and off take turns, in the order of time, and never overlap.
            for (index, change) in found.iter().enumerate() {
                prop_assert_eq!(change.is_on, index % 2 == 0);
                let after = index.checked_sub(1).map_or(0, |before| found[before].last + 1);
                prop_assert!(change.began >= after && change.last >= change.began);
            }
            // What is left behind the last told change leads to nothing more.
            let end = found.last().map_or(Standing { is_on: false, floor: 0, position: 0 }, |last| {
                Standing { is_on: last.is_on, floor: last.last + 1, position: 0 }
            });
            prop_assert_eq!(fold(rule, end, &values), vec![]);
        }
    }

    #[test]
    fn what_is_long_past_is_no_news() {
        let rule = rule(5, 5);
        let standing = Standing { is_on: false, floor: 0, position: 100_000 };
        assert_eq!(standing.window(&rule, 100_000 - LATE, 100_000), Some((100_000 - LATE - 15, 100_000)));
        assert_eq!(
            standing.window(&rule, 50, 100_000),
            Some((100_000 - LATE - 15, 100_000)),
            "what is newer may have changed too"
        );
        assert_eq!(standing.window(&rule, 100_000, 100_000), None);
        assert_eq!(standing.window(&rule, 100_003, 100_005), Some((99_985, 100_005)));
        let decided = Standing { floor: 99_999, ..standing };
        assert_eq!(decided.window(&rule, 50, 100_005), Some((99_999, 100_005)));
    }
}
