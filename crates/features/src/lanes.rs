//! Loops over slices, sixteen numbers side by side: the compiler makes vector instructions of them, and the order of
//! additions is fixed. All are inlined, so that they become as wide as what calls them
//! ([`antiphon_audio::vector::widest`]).

use antiphon_audio::vector::{side_by_side, total};

const LANES: usize = 16;

/// The sum of `term` over pairs of values; the shorter slice decides how many there are.
#[inline(always)]
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
    let mut sums = side_by_side(sums);
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] += term(*a, *b);
    }
    total(sums)
}

/// The inner product.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of(
        a,
        b,
        #[inline(always)]
        |a, b| a * b,
    )
}

/// The larger of two numbers, neither of them NaN: one instruction, which `f32::max` is not.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The largest value, at least 0.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(chunk[lane], lanes[lane]);
        }
    }
    rest.iter().copied().chain(side_by_side(lanes)).fold(0.0, larger)
}

/// ln 2 in two parts, of which the first has so few digits that its products with exponents are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// The bits of the root of a half.
const ROOT_OF_HALF: u32 = 0x3f35_04f3;

/// The natural logarithm of a positive normal number, within 2e-7 of it or of 1 if that is more: S. Moshier's
/// polynomial (Cephes, `logf`), without branches or tables, so that loops of it become vector instructions. The same on
/// every processor, which is more than a system's mathematical library promises.
#[inline(always)]
pub(crate) fn ln(value: f32) -> f32 {
    // The value is 2^exponent (1 + part), 1 + part from the root of a half to that of two.
    let bits = value.to_bits();
    let exponent = (bits.wrapping_sub(ROOT_OF_HALF) as i32) >> 23;
    let part = f32::from_bits(bits.wrapping_sub((exponent << 23) as u32)) - 1.0;
    let exponent = exponent as f32;
    let mut curve = 7.037_683_6e-2;
    for coefficient in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        curve = curve * part + coefficient;
    }
    let square = part * part;
    let small = curve * part * square + exponent * LN_2_LOW - 0.5 * square;
    part + small + exponent * LN_2_HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_exact_enough_from_the_smallest_to_the_largest_number() {
        let mut worst = 0.0_f64;
        let mut value = f32::MIN_POSITIVE;
        while value.is_finite() {
            let exact = f64::from(value).ln();
            worst = worst.max((f64::from(ln(value)) - exact).abs() / exact.abs().max(1.0));
            value *= 1.000_37;
        }
        assert!(worst < 2e-7, "{worst}");
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn the_largest_is_found_wherever_it_lies() {
        for place in 0..40 {
            let mut values = vec![0.5; 40];
            values[place] = 2.0;
            assert_eq!(largest(&values), 2.0);
            assert_eq!(largest(&values[..place]), if place == 0 { 0.0 } else { 0.5 });
        }
    }

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
