//! Loops for the widest vector registers that the processor has.
//!
//! The compiler uses what every processor of an architecture has. Of x86-64 these are registers of four numbers (SSE2);
//! almost all that are in use have eight (AVX2), and AVX2 has to be asked for while the program runs.
//!
//! Results are the same bits either way. The compiler may compute lanes side by side, but it never changes the order
//! in which floating-point numbers are added, and fused multiply-add, which rounds once where two operations round twice, is not
//! switched on.

/// Runs `work`, compiled for AVX2 where there is AVX2.
///
/// Only what is inlined into `work` profits: write `widest(#[inline(always)] || ...)`, and mark the functions that do the
/// work in it `#[inline(always)]` too. A call costs a load and a branch, so it belongs around a loop, not inside.
#[inline]
pub fn widest<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(
            unsafe_code,
            reason = "only the line above knows that the processor has what the function is compiled for"
        )]
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { with_avx2(work) };
    }
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Lanes side by side, kept so. What follows takes them one by one; without this, the compiler would arrange the whole loop before
/// it to suit that, in narrow registers.
#[inline(always)]
pub fn side_by_side<T>(lanes: T) -> T {
    std::hint::black_box(lanes)
}

/// Inner products of windows and rows, all as long as the first row: each of `LANES` (a power of two) sums side by side, which the
/// compiler makes vector instructions of. A product has the same bits however many there are, since the order of its additions
/// is fixed. Several at a time are faster where they share a row.
///
/// # Panics
/// If a window or row is shorter than the first row.
#[inline(always)]
pub fn dots<const COUNT: usize, const LANES: usize>(windows: [&[f32]; COUNT], rows: [&[f32]; COUNT]) -> [f32; COUNT] {
    let width = rows[0].len();
    let windows = windows.map(|window| window[..width].as_chunks::<LANES>());
    let rows = rows.map(|row| row[..width].as_chunks::<LANES>());
    let mut sums = [[0.0_f32; LANES]; COUNT];
    for chunk in 0..width / LANES {
        for number in 0..COUNT {
            let (window, row) = (&windows[number].0[chunk], &rows[number].0[chunk]);
            for lane in 0..LANES {
                sums[number][lane] += window[lane] * row[lane];
            }
        }
    }
    let mut sums = side_by_side(sums);
    if !width.is_multiple_of(LANES) {
        for number in 0..COUNT {
            for (lane, (sample, weight)) in windows[number].1.iter().zip(rows[number].1).enumerate() {
                sums[number][lane] += sample * weight;
            }
        }
    }
    sums.map(total)
}

/// The sum of lanes, a power of two of them, in halves: as exact as it gets, and the next lanes need not wait for the last.
#[inline(always)]
pub fn total<const LANES: usize>(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(always)]
    fn sums(a: &[f32], b: &[f32]) -> [f32; 8] {
        let mut sums = [0.0_f32; 8];
        for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
            for lane in 0..8 {
                sums[lane] += a[lane] * b[lane] + (a[lane] * a[lane] + 1.0).sqrt();
            }
        }
        sums
    }

    #[test]
    fn results_are_the_same_bits() {
        let a: Vec<f32> = (0..4_096).map(|n| ((n * 7_919) % 1_009) as f32 / 1_009.0 - 0.5).collect();
        let b: Vec<f32> = (0..4_096).map(|n| ((n * 104_729) % 997) as f32 / 997.0 - 0.5).collect();
        let plain = std::hint::black_box(sums(&a, &b));
        let wide = widest(
            #[inline(always)]
            || sums(&a, &b),
        );
        assert_eq!(plain.map(f32::to_bits), wide.map(f32::to_bits));
    }

    #[test]
    fn products_are_those_of_the_definition_for_any_length() {
        for length in 0..70_usize {
            let window: Vec<f32> = (0..length + 6).map(|n| n as f32 - 20.0).collect();
            let row: Vec<f32> = (0..length).map(|n| (n * n % 31) as f32).collect();
            let expected = |from: usize| window[from..].iter().zip(&row).map(|(a, b)| a * b).sum::<f32>();
            let windows = [0, 2, 4, 6].map(|from| &window[from..]);
            assert_eq!(dots::<4, 8>(windows, [&row; 4]), [0, 2, 4, 6].map(expected), "whole numbers are exact");
            assert_eq!(dots::<1, 16>([&window], [&row]), [expected(0)]);
        }
    }

    #[test]
    fn a_product_does_not_depend_on_its_neighbours() {
        let window: Vec<f32> = (0..300).map(|n| ((n * 7_919) % 1_009) as f32 / 1_009.0 - 0.5).collect();
        let row: Vec<f32> = (0..257).map(|n| ((n * 104_729) % 997) as f32 / 997.0 - 0.5).collect();
        let windows = [0, 1, 2, 3].map(|from| &window[from..]);
        let together = widest(
            #[inline(always)]
            || dots::<4, 8>(windows, [&row; 4]),
        );
        let alone = windows.map(|window| dots::<1, 8>([window], [&row])[0]);
        assert_eq!(together.map(f32::to_bits), alone.map(f32::to_bits));
    }
}
