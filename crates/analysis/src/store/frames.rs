//! Frames, where a plan keeps them: every value at its own instant.

use std::collections::HashMap;

use antiphon_features::cells::{Frame, counting, decode_frames};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{ReadTransaction, Statement};
use antiphon_platform::sql;

use super::annotations::{CountingInterval, counting_intervals};
use super::error::StoreError;
use super::sources::{LayerRow, Source};

const BLOCKS: Statement = sql!("sql/frames_of_minutes.sql");

pub(super) const STATEMENTS: &[Statement] = &[BLOCKS];

const MINUTE: Micros = 60 * SECOND;

/// The frames of an algorithm that begin in `[from, to)`, in time order. Of recordings that overlap, those that
/// count in a second give its frames.
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
    let minutes = [from.div_euclid(MINUTE).into(), (to - 1).div_euclid(MINUTE).into()];
    let [first, last] = minutes;
    let rows = tx.rows(&BLOCKS, &[source.id.into(), layer.id.into(), first, last]).await?;
    let intervals = counting_intervals(tx, source, from, to).await?;
    let mut lost = Lost::new(&intervals);
    let mut found: Vec<((Micros, Vec<u8>), Frame)> = Vec::new();
    for row in rows {
        let (minute, recording) = (row.get(0)?, (row.get(1)?, row.get(2)?));
        let data: Vec<u8> = row.get(3)?;
        let frames = decode_frames(descriptor, minute, &data).map_err(|error| StoreError::Damaged {
            what: "frames",
            source_id: source.id,
            time: minute * MINUTE,
            error,
        })?;
        for frame in frames.into_iter().filter(|frame| (from..to).contains(&frame.start)) {
            if lost.counts(&recording, frame.start.div_euclid(SECOND)) {
                found.push((recording.clone(), frame));
            }
        }
    }
    found.sort_by(|(one, a), (other, b)| (a.start, one).cmp(&(b.start, other)));
    // Within the jitter two recordings may have the same frame of the grid; the earlier one's is it.
    found.dedup_by(|(_, later), (_, earlier)| later.start == earlier.start);
    Ok(found.into_iter().map(|(_, frame)| frame).collect())
}

/// Which recordings count in which second, asked for one second after the other.
struct Lost<'a> {
    intervals: &'a [CountingInterval],
    seconds: HashMap<i64, Vec<(&'a CountingInterval, bool)>>,
}

impl<'a> Lost<'a> {
    fn new(intervals: &'a [CountingInterval]) -> Self {
        Self { intervals, seconds: HashMap::new() }
    }

    fn counts(&mut self, recording: &(Micros, Vec<u8>), second: i64) -> bool {
        let intervals = self.intervals;
        let flags = self.seconds.entry(second).or_insert_with(|| {
            let (from, to) = (second * SECOND, (second + 1) * SECOND);
            let touching: Vec<_> =
                intervals.iter().filter(|interval| interval.span.start < to && interval.span.finish > from).collect();
            let spans: Vec<_> = touching.iter().map(|interval| (interval.span.start, interval.span.finish)).collect();
            touching.into_iter().zip(counting(second, &spans)).collect()
        });
        let own = |interval: &CountingInterval| {
            interval.recording.0 == recording.0 && interval.recording.1.as_slice() == recording.1
        };
        // A frame of a song's last second may begin a little after its end.
        flags.iter().find(|(interval, _)| own(interval)).is_none_or(|(_, counts)| *counts)
    }
}
