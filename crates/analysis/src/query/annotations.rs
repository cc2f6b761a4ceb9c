//! What has a beginning, an end and a label: clipped by the overlap rule, joined over the borders of recordings.

use std::collections::{HashMap, VecDeque};

use antiphon_features::cells::counting;
use antiphon_features::descriptor::Kind;
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{DbError, ReadTransaction};

use super::heard::touching;
use crate::descriptors::{Known, annotation_type};
use crate::store::{self, CountingInterval, JITTER, Source, Span, StoredAnnotation};

/// What is read at a time.
const STRETCH: Micros = 24 * 3_600 * SECOND;

/// How far before and after a range the ends of what overlaps it are looked for.
const LOOK_AROUND: Micros = 7 * STRETCH;

/// A step of that search.
const STEP: Micros = 3_600 * SECOND;

/// An interval as a reader sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// Its beginning, in µs.
    pub from: Micros,
    /// Its end, in µs.
    pub to: Micros,
    /// The type, such as `silence`.
    pub kind: String,
    /// What it says; may be empty.
    pub label: String,
    /// A number that belongs to it.
    pub value: Option<f32>,
    /// How sure the algorithm is, 0 to 1.
    pub confidence: Option<f32>,
    /// The algorithm.
    pub algorithm: String,
    /// The algorithm's version.
    pub version: u32,
}

/// What orders annotations, and what a page goes on after.
pub(super) type Position = (Micros, String, String, String, u32);

/// What annotations are asked for: those that overlap `[from, to)`, whole.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) from: Micros,
    pub(super) to: Micros,
    /// None given: all.
    pub(super) types: Vec<String>,
    /// Those without a confidence count as less than any.
    pub(super) min_confidence: Option<f64>,
    /// Those up to here are on earlier pages.
    pub(super) after: Option<Position>,
}

impl Annotation {
    pub(super) fn position(&self) -> Position {
        (self.from, self.algorithm.clone(), self.kind.clone(), self.label.clone(), self.version)
    }

    fn continues(&self, next: &Self) -> bool {
        self.kind == next.kind
            && self.label == next.label
            && self.algorithm == next.algorithm
            && self.version == next.version
    }
}

/// Reads annotations in the order of their beginnings.
pub(super) struct Scan {
    wanted: Wanted,
    known: Known,
    /// Where the next stretch begins.
    at: Micros,
    is_over: bool,
    /// What was heard: elsewhere nothing is looked for.
    spans: Vec<Span>,
    /// What overlaps the beginning of the first stretch belongs to it too.
    is_first: bool,
    /// What may still go on, or comes after something that may.
    open: Vec<Joined>,
    ready: VecDeque<Annotation>,
}

/// Pieces that were joined: sums weighted by their lengths.
#[derive(Clone, Debug)]
struct Joined {
    annotation: Annotation,
    value: Weighted,
    confidence: Weighted,
}

#[derive(Clone, Copy, Debug, Default)]
struct Weighted {
    sum: f64,
    length: f64,
}

impl Scan {
    pub(super) async fn begin(tx: &mut ReadTransaction, source: &Source, wanted: Wanted) -> Result<Self, DbError> {
        let start = match &wanted.after {
            // Whatever goes on over the last one's beginning begins before it and was shown.
            Some(after) => after.0 - JITTER - 1,
            None => beginning(tx, source, wanted.from).await?,
        };
        let spans = store::spans(tx, source.id, start, wanted.to.saturating_add(LOOK_AROUND)).await?;
        let (open, ready) = (Vec::new(), VecDeque::new());
        let known = Known::load(tx).await?;
        Ok(Self { wanted, known, at: start, is_over: false, spans, is_first: true, open, ready })
    }

    /// The next annotations in order, one stretch of them or more; none at the end.
    pub(super) async fn next(&mut self, tx: &mut ReadTransaction, source: &Source) -> Result<Vec<Annotation>, DbError> {
        let end = self.spans.last().map_or(self.at, |last| last.finish);
        while self.ready.is_empty() && !self.is_over {
            if self.open.is_empty() {
                let next = touching(&self.spans, self.at, end).next();
                let start = next.map_or(end, |span| span.start.max(self.at));
                if start >= self.wanted.to.min(end) {
                    self.is_over = true;
                    break;
                }
                self.at = start;
            }
            let next = self.at.saturating_add(STRETCH);
            self.read(tx, source, next).await?;
            self.is_first = false;
            self.at = next;
            // Beyond the range only what began in it is followed to its end.
            let follows = self.open.iter().any(|open| open.annotation.from < self.wanted.to);
            self.is_over = self.at >= end || self.at >= self.wanted.to && !follows;
            self.close(if self.is_over { Micros::MAX } else { self.at - JITTER });
        }
        Ok(self.ready.drain(..).collect())
    }

    async fn read(&mut self, tx: &mut ReadTransaction, source: &Source, end: Micros) -> Result<(), DbError> {
        let mut stored = store::annotations(tx, source, self.at, end, &self.wanted.types).await?;
        stored.retain(|annotation| self.is_first || annotation.span.start >= self.at);
        let first = stored.iter().map(|annotation| annotation.span.start).min();
        let last = stored.iter().map(|annotation| annotation.span.finish).max();
        let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
        let (first, last) = (first.div_euclid(SECOND) * SECOND, (last.div_euclid(SECOND) + 1) * SECOND);
        let intervals = store::counting_intervals(tx, source, first, last).await?;
        let mut pieces = clip(&stored, &intervals);
        pieces.sort_by_key(Annotation::position);
        for piece in pieces {
            self.add(piece);
        }
        Ok(())
    }

    fn add(&mut self, piece: Annotation) {
        let length = (piece.to - piece.from) as f64;
        let joins = |open: &&mut Joined| open.annotation.continues(&piece) && piece.from <= open.annotation.to + JITTER;
        if let Some(open) = self.open.iter_mut().rev().find(joins) {
            open.annotation.to = open.annotation.to.max(piece.to);
            open.value.add(piece.value, length);
            open.confidence.add(piece.confidence, length);
            return;
        }
        let mut joined = Joined { value: Weighted::default(), confidence: Weighted::default(), annotation: piece };
        joined.value.add(joined.annotation.value, length);
        joined.confidence.add(joined.annotation.confidence, length);
        self.open.push(joined);
    }

    /// Passes on what ended before `end`, up to the first that did not: order is by beginning.
    fn close(&mut self, end: Micros) {
        self.open.sort_by_key(|open| open.annotation.position());
        let closed = self.open.iter().take_while(|open| open.annotation.to < end).count();
        for open in self.open.drain(..closed) {
            let value = open.value.mean();
            let confidence = open.confidence.mean();
            let annotation = Annotation { value, confidence, ..open.annotation };
            if self.wanted.takes(&annotation, minimum(&self.known, &annotation)) {
                self.ready.push_back(annotation);
            }
        }
    }
}

impl Wanted {
    /// Whether an annotation is asked for, of a type that is at least `minimum` µs long.
    fn takes(&self, annotation: &Annotation, minimum: Micros) -> bool {
        let is_long = annotation.to - annotation.from >= minimum;
        let is_sure = self
            .min_confidence
            .is_none_or(|least| annotation.confidence.is_some_and(|confidence| f64::from(confidence) >= least));
        let is_new = self.after.as_ref().is_none_or(|after| annotation.position() > *after);
        annotation.from < self.to && annotation.to > self.from && is_long && is_sure && is_new
    }
}

impl Weighted {
    fn add(&mut self, value: Option<f32>, length: f64) {
        if let Some(value) = value {
            self.sum += f64::from(value) * length;
            self.length += length;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a mean of f32 is in their range")]
    fn mean(self) -> Option<f32> {
        (self.length > 0.0).then(|| (self.sum / self.length) as f32)
    }
}

/// The shortest annotation of a type that is shown, in µs.
fn minimum(known: &Known, annotation: &Annotation) -> Micros {
    let Some(descriptor) = known.version(&annotation.algorithm, annotation.version) else { return 0 };
    let minimums = descriptor.outputs.iter().filter_map(|output| match output.kind {
        Kind::Annotation { minimum } if annotation_type(descriptor, output) == annotation.kind => Some(minimum),
        _ => None,
    });
    minimums.max().unwrap_or(0)
}

/// Where the oldest of a chain begins that reaches to `from`: neighbours at most [`JITTER`] apart may be joined.
async fn beginning(tx: &mut ReadTransaction, source: &Source, from: Micros) -> Result<Micros, DbError> {
    let mut reach = from - JITTER;
    while reach > from.saturating_sub(LOOK_AROUND) {
        let start = reach - STEP;
        let mut stored = store::annotations(tx, source, start, reach + 1, &[]).await?;
        stored.sort_by_key(|annotation| std::cmp::Reverse(annotation.span.finish));
        let mut earliest = reach;
        for annotation in stored {
            if annotation.span.finish + JITTER >= earliest {
                earliest = earliest.min(annotation.span.start - JITTER);
            }
        }
        if earliest == reach {
            break;
        }
        reach = earliest;
    }
    Ok(reach)
}

/// What is left of annotations in the seconds in which their recordings count.
fn clip(stored: &[StoredAnnotation], intervals: &[CountingInterval]) -> Vec<Annotation> {
    let lost = lost_seconds(intervals);
    let mut pieces = Vec::new();
    for annotation in stored {
        let mut start = annotation.span.start;
        for second in lost.get(&annotation.recording).into_iter().flatten() {
            let (from, to) = (second * SECOND, (second + 1) * SECOND);
            if from < annotation.span.finish && to > start {
                if from > start {
                    pieces.push(piece(annotation, start, from));
                }
                start = start.max(to);
            }
        }
        if start < annotation.span.finish {
            pieces.push(piece(annotation, start, annotation.span.finish));
        }
    }
    pieces
}

fn piece(annotation: &StoredAnnotation, from: Micros, to: Micros) -> Annotation {
    Annotation {
        from,
        to,
        kind: annotation.kind.clone(),
        label: annotation.label.clone(),
        value: annotation.value,
        confidence: annotation.confidence,
        algorithm: annotation.algorithm.clone(),
        version: annotation.version,
    }
}

/// The seconds in which each recording does not count, in order. Intervals come in the order of (start, id).
fn lost_seconds(intervals: &[CountingInterval]) -> HashMap<(Micros, [u8; 20]), Vec<i64>> {
    let mut lost: HashMap<(Micros, [u8; 20]), Vec<i64>> = HashMap::new();
    let mut active: Vec<&CountingInterval> = Vec::new();
    let mut done = i64::MIN;
    for (index, interval) in intervals.iter().enumerate() {
        active.retain(|earlier| earlier.span.finish > interval.span.start.div_euclid(SECOND) * SECOND);
        let reach = active.iter().map(|earlier| earlier.span.finish).max().unwrap_or(Micros::MIN);
        active.push(interval);
        if reach <= interval.span.start {
            continue;
        }
        // Contested from here to where the earlier ones, or this one, end.
        let last = (reach.min(interval.span.finish) - 1).div_euclid(SECOND);
        for second in interval.span.start.div_euclid(SECOND).max(done + 1)..=last {
            let (from, to) = (second * SECOND, (second + 1) * SECOND);
            let later = intervals[index + 1..].iter().take_while(|later| later.span.start < to);
            let touching: Vec<&CountingInterval> =
                active.iter().copied().chain(later).filter(|touching| touching.span.finish > from).collect();
            let spans: Vec<_> = touching.iter().map(|touching| (touching.span.start, touching.span.finish)).collect();
            for (touching, counts) in touching.into_iter().zip(counting(second, &spans)) {
                if !counts {
                    lost.entry(touching.recording).or_default().push(second);
                }
            }
        }
        done = done.max(last);
    }
    lost
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(number: u8, start: Micros, finish: Micros) -> CountingInterval {
        CountingInterval { recording: (start, [number; 20]), span: Span { start, finish } }
    }

    fn silence(number: u8, recording: Micros, start: Micros, finish: Micros) -> StoredAnnotation {
        StoredAnnotation {
            span: Span { start, finish },
            algorithm: String::from("silence"),
            version: 1,
            kind: String::from("silence"),
            label: String::new(),
            value: Some(-70.0),
            confidence: None,
            open_start: false,
            open_end: false,
            recording: (recording, [number; 20]),
        }
    }

    #[test]
    fn an_annotation_exists_only_where_its_recording_counts() {
        let intervals = [interval(1, 0, 5 * SECOND), interval(2, 3 * SECOND, 9 * SECOND)];
        let stored = [silence(1, 0, SECOND, 5 * SECOND), silence(2, 3 * SECOND, 3 * SECOND, 8 * SECOND)];
        let pieces: Vec<_> = clip(&stored, &intervals).iter().map(|piece| (piece.from, piece.to)).collect();
        assert_eq!(pieces, [(SECOND, 5 * SECOND), (5 * SECOND, 8 * SECOND)]);
    }

    proptest! {
        #[test]
        fn lost_seconds_are_those_of_the_overlap_rule(
            starts in prop::collection::vec((0..12_000_000_i64, 1..6_000_000_i64), 1..8),
        ) {
            let mut intervals: Vec<_> = (0..).zip(&starts)
                .map(|(number, (start, length))| interval(number, *start, start + length)).collect();
            intervals.sort();
            let lost = lost_seconds(&intervals);
            for second in 0..20 {
                let spans: Vec<_> = intervals.iter().map(|one| (one.span.start, one.span.finish)).collect();
                for (one, counts) in intervals.iter().zip(counting(second, &spans)) {
                    let touches = one.span.start < (second + 1) * SECOND && one.span.finish > second * SECOND;
                    let is_lost = lost.get(&one.recording).is_some_and(|lost| lost.contains(&second));
                    prop_assert_eq!(is_lost, touches && !counts, "second {} of {:?}", second, one);
                }
            }
            for seconds in lost.values() {
                prop_assert!(seconds.windows(2).all(|pair| pair[0] < pair[1]), "in order, once");
            }
        }
    }
}
