//! Which recordings count in a second.

use super::SECOND;

/// Overlap of up to this many µs in a second is the jitter of a sensor's clock.
pub const TOLERANCE: i64 = 20_000;

/// Which of the recordings count in a second: one flag for each interval `(start, end)` in µs, which must come
/// in (start, id) order. One that overlaps those already taken by more than [`TOLERANCE`] in all, inside this
/// second, is left out of it whole; so is one that does not touch it.
pub fn counting(second: i64, intervals: &[(i64, i64)]) -> Vec<bool> {
    let length = i64::from(SECOND);
    let start = second.saturating_mul(length);
    let clip = |at: i64| at.saturating_sub(start).clamp(0, length);
    // What is taken, as intervals that do not overlap, in rising order.
    let mut taken: Vec<(i64, i64)> = Vec::new();
    let mut flags = Vec::with_capacity(intervals.len());
    for &(from, to) in intervals {
        let (from, to) = (clip(from), clip(to));
        let overlap: i64 = taken.iter().map(|&(a, b)| (to.min(b) - from.max(a)).max(0)).sum();
        let counts = from < to && overlap <= TOLERANCE;
        if counts {
            taken.push((from, to));
            join(&mut taken);
        }
        flags.push(counts);
    }
    flags
}

fn join(taken: &mut Vec<(i64, i64)>) {
    taken.sort_unstable();
    taken.dedup_by(|next, joined| {
        let touches = next.0 <= joined.1;
        if touches {
            joined.1 = joined.1.max(next.1);
        }
        touches
    });
}

#[cfg(test)]
mod tests {
    use super::counting;

    #[test]
    fn jitter_counts_and_overlap_does_not() {
        let second = 1_777_593_600_i64;
        let at = |offset: i64| second * 1_000_000 + offset;
        let intervals = [
            (at(-500_000), at(400_000)),
            (at(390_000), at(800_000)),     // 10 ms twice
            (at(370_000), at(500_000)),     // overlaps both
            (at(790_000), at(2_000_000)),   // 10 ms twice
            (at(1_000_000), at(3_000_000)), // not in this second
        ];
        assert_eq!(counting(second, &intervals), [true, true, false, true, false]);
        assert_eq!(counting(second + 1, &intervals), [false, false, false, true, false]);
    }

    #[test]
    fn overlap_is_summed_over_all_that_were_taken() {
        let taken = [(0, 300_000), (400_000, 700_000), (285_000, 410_000)];
        assert_eq!(counting(0, &taken), [true, true, false], "15 ms and 10 ms are 25 ms in all");
        let taken = [(0, 300_000), (400_000, 700_000), (290_000, 410_000)];
        assert_eq!(counting(0, &taken), [true, true, true], "10 ms and 10 ms are 20 ms in all");
    }
}
