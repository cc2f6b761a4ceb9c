//! Sums over slices, sixteen side by side: the compiler makes vector instructions of them, and the order of additions
//! is fixed.

const LANES: usize = 16;

/// The sum of `term` over pairs of values; the shorter slice decides how many there are.
#[inline]
pub(crate) fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let length = a.len().min(b.len());
    let (a_chunks, a_rest) = a[..length].as_chunks::<LANES>();
    let (b_chunks, b_rest) = b[..length].as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] += term(*a, *b);
    }
    // In halves: as exact as it gets, and the next lanes need not wait for the last.
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// The inner product.
#[inline]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a, b, |a, b| a * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_definition_for_any_length() {
        for length in 0..100_usize {
            let a: Vec<f32> = (0..length).map(|n| n as f32 - 20.0).collect();
            let b: Vec<f32> = (0..length).map(|n| (n * n % 31) as f32).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(&a, &b), expected, "whole numbers are exact");
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum();
            assert_eq!(sum_of(&a, &b, |a, b| (a - b).abs()), expected);
        }
        assert_eq!(dot(&[1.0, 2.0, 3.0], &[4.0]), 4.0);
    }
}
