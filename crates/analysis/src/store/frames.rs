//! Reading frames: every value at its own instant, by the same overlap rule as cells.

use std::collections::{HashMap, HashSet};

use antiphon_features::cells::{Frame, counting, decode_frames};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{ReadTransaction, Statement};
use antiphon_platform::sql;

use super::cells::blocks;
use super::error::StoreError;
use super::sources::{LayerRow, Source};
use super::spans::Span;

const ANALYSED: Statement = sql!("sql/analysed_intervals.sql");

pub(super) const STATEMENTS: &[Statement] = &[ANALYSED];

/// The frames of an algorithm that begin in `[from, to)`, in time order, of the recordings that count in their second.
/// `layer` is one named [`FRAMES`](antiphon_features::cells::FRAMES).
///
/// # Errors
/// Those of the database, [`StoreError::Damaged`], [`StoreError::UnknownLayer`].
pub async fn read_frames(
    tx: &mut ReadTransaction,
    source: &Source,
    layer: &LayerRow,
    from: Micros,
    to: Micros,
) -> Result<Vec<Frame>, StoreError> {
    let descriptor = antiphon_features::find(&layer.algorithm)
        .ok_or_else(|| StoreError::UnknownLayer { algorithm: layer.algorithm.clone(), layer: layer.layer.clone() })?;
    if from >= to {
        return Ok(Vec::new());
    }
    let minute = 60 * SECOND;
    let stored = blocks(tx, source.id, layer.id, from.div_euclid(minute), (to - 1).div_euclid(minute)).await?;
    let mut heard = Heard::read(tx, source, from - SECOND, to + SECOND).await?;
    let mut frames = Vec::new();
    for block in stored {
        let decoded = decode_frames(descriptor, block.minute, &block.data).map_err(|error| StoreError::Damaged {
            what: "frames",
            source_id: source.id,
            time: block.minute * minute,
            error,
        })?;
        let wanted = decoded.into_iter().filter(|frame| (from..to).contains(&frame.start));
        frames.extend(wanted.filter(|frame| heard.counts(block.recording, frame.start)));
    }
    // Stable: within the jitter two recordings may have the same frame of the grid; the earlier one's is it.
    frames.sort_by_key(|frame| frame.start);
    frames.dedup_by_key(|frame| frame.start);
    Ok(frames)
}

/// What was analysed of the recordings around a range, in the order of the overlap rule.
struct Heard {
    intervals: Vec<(i64, Span)>,
    seconds: HashMap<i64, HashSet<i64>>,
}

impl Heard {
    async fn read(tx: &mut ReadTransaction, source: &Source, from: Micros, to: Micros) -> Result<Self, StoreError> {
        let values = [source.id.into(), from.saturating_sub(source.longest).into(), to.into(), from.into()];
        let mut intervals: Vec<(i64, Span)> = Vec::new();
        for row in tx.rows(&ANALYSED, &values).await? {
            let recording: i64 = row.get(2)?;
            let span = Span { start: row.get(3)?, finish: row.get(4)? };
            match intervals.last_mut() {
                Some((last, joined)) if *last == recording && span.start <= joined.finish => {
                    joined.finish = joined.finish.max(span.finish);
                }
                _ => intervals.push((recording, span)),
            }
        }
        Ok(Self { intervals, seconds: HashMap::new() })
    }

    /// Whether a recording counts in the second of a frame that begins at `start`. A frame belongs to its last
    /// input sample, which on the grid of a sensor lies just before that instant, so the second before has
    /// the first word if the recording was heard in it.
    fn counts(&mut self, recording: i64, start: Micros) -> bool {
        let touches = |second: i64| {
            self.intervals.iter().any(|(other, span)| {
                *other == recording && span.start < (second + 1) * SECOND && span.finish > second * SECOND
            })
        };
        let seconds = [(start - 1).div_euclid(SECOND), start.div_euclid(SECOND)];
        // The last frame of a song may begin a little after its end, where nothing else is.
        let Some(second) = seconds.into_iter().find(|second| touches(*second)) else { return true };
        let intervals = &self.intervals;
        let counting = self.seconds.entry(second).or_insert_with(|| {
            let there: Vec<(i64, Span)> = intervals
                .iter()
                .filter(|(_, span)| span.start < (second + 1) * SECOND && span.finish > second * SECOND)
                .copied()
                .collect();
            let ends: Vec<(i64, i64)> = there.iter().map(|(_, span)| (span.start, span.finish)).collect();
            let flags = counting(second, &ends);
            there.iter().zip(flags).filter_map(|((recording, _), counts)| counts.then_some(*recording)).collect()
        });
        counting.contains(&recording)
    }
}
