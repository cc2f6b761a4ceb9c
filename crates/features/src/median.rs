//! Running medians: a window of values in rising order, of which one leaves as another enters.

/// Takes one value out of a row in rising order and puts another in. Every place is computed alike, without branches, so that
/// the compiler makes vector instructions of it, as wide as what calls it ([`antiphon_audio::vector::widest`]).
#[inline(always)]
pub(crate) fn replace<const LENGTH: usize>(sorted: &mut [f32; LENGTH], leaving: f32, entering: f32) {
    // What is left, and an infinity behind it.
    let mut rest = [f32::INFINITY; LENGTH];
    for place in 0..LENGTH - 1 {
        rest[place] = if sorted[place] < leaving { sorted[place] } else { sorted[place + 1] };
    }
    sorted[0] = if entering < rest[0] { entering } else { rest[0] };
    for place in 1..LENGTH {
        let (below, above) = (rest[place - 1], rest[place]);
        let lower = if entering < above { entering } else { above };
        sorted[place] = if lower > below { lower } else { below };
    }
}

/// Where a place lies in 0 to `length` after mirroring at both ends, as often as it takes; the first and the last value are
/// repeated.
pub(crate) fn mirrored(place: i64, length: usize) -> usize {
    let length = length as i64;
    let place = place.rem_euclid(2 * length);
    (if place < length { place } else { 2 * length - 1 - place }) as usize
}

/// Calls `each` with every value of a row and the median of the `LENGTH` (odd) around it, mirrored at both ends.
#[inline(always)]
pub(crate) fn medians<const LENGTH: usize>(row: &[f32], mut each: impl FnMut(usize, f32)) {
    let reach = LENGTH / 2;
    let value = |place: i64| row[mirrored(place, row.len())];
    let mut sorted: [f32; LENGTH] = std::array::from_fn(|place| value(place as i64 - reach as i64));
    sorted.sort_unstable_by(f32::total_cmp);
    for place in 0..row.len() {
        if place > 0 {
            replace(&mut sorted, value((place - 1) as i64 - reach as i64), value((place + reach) as i64));
        }
        each(place, sorted[reach]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn the_running_median_is_the_median() {
        // With repeated values among them.
        let mut row = noise(5, 400);
        row.iter_mut().step_by(3).for_each(|value| *value = 0.05);
        let mut seen = 0;
        medians::<31>(&row, |place, median| {
            let window = place as i64 - 15..=place as i64 + 15;
            let mut expected: Vec<f32> = window.map(|place| row[mirrored(place, row.len())]).collect();
            expected.sort_unstable_by(f32::total_cmp);
            assert_eq!(median, expected[15], "{place}");
            seen += 1;
        });
        assert_eq!(seen, 400);
    }

    #[test]
    fn mirrors_repeat_the_edge() {
        let places: Vec<usize> = (-7..7).map(|place| mirrored(place, 3)).collect();
        assert_eq!(places, [0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]);
        assert_eq!(mirrored(-15, 1), 0);
    }
}
