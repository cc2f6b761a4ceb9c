//! What was heard and what was not: both come from the spans.

use antiphon_platform::clock::Micros;

use crate::store::Span;

/// What is left open between the spans within `[from, to)`, never later than `now`. Spans are in order and
/// do not touch.
pub(super) fn gaps(spans: &[Span], from: Micros, to: Micros, now: Option<Micros>) -> Vec<Span> {
    let to = now.map_or(to, |now| to.min(now));
    let mut gaps = Vec::new();
    let mut open = from;
    for span in touching(spans, from, to) {
        if span.start > open {
            gaps.push(Span { start: open, finish: span.start.min(to) });
        }
        open = open.max(span.finish);
    }
    if open < to {
        gaps.push(Span { start: open, finish: to });
    }
    gaps
}

/// How much of `[from, to)` the spans cover, in µs.
pub(super) fn heard(spans: &[Span], from: Micros, to: Micros) -> Micros {
    touching(spans, from, to).map(|span| span.finish.min(to) - span.start.max(from)).sum()
}

/// The share of `[from, to)` that was heard, 0 to 1, rounded to 6 digits; what lies after `now` counts only if
/// it was.
pub(super) fn coverage(spans: &[Span], from: Micros, to: Micros, now: Option<Micros>) -> f64 {
    let heard = heard(spans, from, to);
    let missed: Micros = gaps(spans, from, to, now).iter().map(|gap| gap.finish - gap.start).sum();
    if heard == 0 {
        return 0.0;
    }
    (heard as f64 / (heard + missed) as f64 * 1e6).round() / 1e6
}

/// The spans that overlap `[from, to)`.
pub(super) fn touching(spans: &[Span], from: Micros, to: Micros) -> impl Iterator<Item = &Span> {
    let first = spans.partition_point(|span| span.finish <= from);
    spans[first..].iter().take_while(move |span| span.start < to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(start: Micros, finish: Micros) -> Span {
        Span { start, finish }
    }

    #[test]
    fn gaps_lie_between_before_and_after() {
        let spans = [span(10, 20), span(30, 40)];
        assert_eq!(gaps(&spans, 0, 50, None), [span(0, 10), span(20, 30), span(40, 50)]);
        assert_eq!(gaps(&spans, 15, 35, None), [span(20, 30)]);
        assert_eq!(gaps(&spans, 12, 18, None), []);
        assert_eq!(gaps(&[], 0, 50, Some(30)), [span(0, 30)]);
        assert_eq!(gaps(&spans, 0, 50, Some(25)), [span(0, 10), span(20, 25)]);
        assert_eq!(gaps(&spans, 60, 70, Some(50)), []);
    }

    #[test]
    fn coverage_is_a_share_of_the_past_and_of_what_was_heard() {
        let spans = [span(0, 30)];
        assert_eq!(coverage(&spans, 0, 90, None), 0.333_333);
        assert_eq!(coverage(&spans, 0, 90, Some(30)), 1.0);
        assert_eq!(coverage(&spans, 0, 90, Some(60)), 0.5);
        assert_eq!(coverage(&[], 0, 90, Some(0)), 0.0);
    }

    proptest! {
        #[test]
        fn heard_and_gaps_make_up_the_range(lengths in prop::collection::vec(1..50_i64, 0..20), from in 0..300_i64, length in 1..300_i64) {
            let mut spans = Vec::new();
            let mut at = 0;
            for pair in lengths.chunks_exact(2) {
                spans.push(span(at + pair[0], at + pair[0] + pair[1]));
                at += pair[0] + pair[1];
            }
            let missed: Micros = gaps(&spans, from, from + length, None).iter().map(|gap| gap.finish - gap.start).sum();
            prop_assert_eq!(heard(&spans, from, from + length) + missed, length);
        }
    }
}
