//! Bands on Slaney's mel scale: straight below 1 kHz, logarithmic above (M. Slaney, "Auditory Toolbox", 1998).

use antiphon_audio::vector::{side_by_side, total};

/// Weights side by side: those of a band are so many times as many, zeros among them.
const LANES: usize = 8;

/// Triangular filters over the bins of a power spectrum. Neighbours overlap: one rises while the other falls.
pub(super) struct Bank {
    bands: Vec<Band>,
    weights: Vec<[f32; LANES]>,
}

/// Where the weights of one triangle lie, and the bin that the first belongs to.
struct Band {
    first_bin: usize,
    weights: std::ops::Range<usize>,
}

impl Bank {
    /// `count` triangles from 0 Hz to half of `rate`, over the bins of a transform of `size`. `gain` is the height of
    /// a triangle by its width in Hz.
    pub(super) fn new(count: usize, rate: u32, size: u32, gain: impl Fn(f64) -> f64) -> Bank {
        let corners = corners(count, f64::from(rate) / 2.0);
        let bin_width = f64::from(rate) / f64::from(size);
        let bins = size as usize / 2 + 1;
        let mut bank = Bank { bands: Vec::with_capacity(count), weights: Vec::new() };
        for corner in corners.windows(3) {
            let (low, centre, high) = (corner[0], corner[1], corner[2]);
            let weight = |bin: usize| {
                let frequency = bin as f64 * bin_width;
                let height = ((frequency - low) / (centre - low)).min((high - frequency) / (high - centre));
                (height.max(0.0) * gain(high - low)) as f32
            };
            let first = (0..bins).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
            let end = (0..bins).rfind(|&bin| weight(bin) > 0.0).map_or(first, |last| last + 1);
            let length = (end - first).next_multiple_of(LANES);
            // What is read lies inside the spectrum: at its end, the zeros come first.
            let first_bin = first.min(bins - length);
            let start = bank.weights.len();
            let chunks = (first_bin..first_bin + length).step_by(LANES);
            bank.weights.extend(chunks.map(|from| std::array::from_fn(|lane| weight(from + lane))));
            bank.bands.push(Band { first_bin, weights: start..bank.weights.len() });
        }
        bank
    }

    /// The weighted sum of each band.
    #[inline(always)]
    pub(super) fn apply(&self, power: &[f32], sums: &mut [f32]) {
        for (sum, band) in sums.iter_mut().zip(&self.bands) {
            let mut lanes = [0.0_f32; LANES];
            let chunks = power[band.first_bin..].as_chunks::<LANES>().0;
            for (weights, power) in self.weights[band.weights.clone()].iter().zip(chunks) {
                for lane in 0..LANES {
                    lanes[lane] += weights[lane] * power[lane];
                }
            }
            *sum = total(side_by_side(lanes));
        }
    }
}

/// The lower corner of the first triangle, all centres and the upper corner of the last, in Hz: even in mel.
pub(super) fn corners(count: usize, highest: f64) -> Vec<f64> {
    let top = mel(highest);
    (0..count + 2).map(|index| hertz(top * index as f64 / (count + 1) as f64)).collect()
}

/// Hz to 1 mel, below the break.
const STRAIGHT: f64 = 200.0 / 3.0;
/// Where the scale turns logarithmic, in Hz: at 15 mel.
const BREAK: f64 = 1_000.0;
/// ln(6.4) / 27: the logarithm of the ratio of neighbours above.
const STEP: f64 = 0.068_751_777_420_949_12;

fn mel(hertz: f64) -> f64 {
    if hertz < BREAK { hertz / STRAIGHT } else { BREAK / STRAIGHT + (hertz / BREAK).ln() / STEP }
}

fn hertz(mel: f64) -> f64 {
    if mel < BREAK / STRAIGHT { mel * STRAIGHT } else { BREAK * ((mel - BREAK / STRAIGHT) * STEP).exp() }
}

/// Centres of the 128 bands of `mel`, in Hz.
#[rustfmt::skip]
pub(super) const MEL_CENTRES: [&str; 128] = [
    "25.8", "51.6", "77.4", "103.2", "129.0", "154.8", "180.6", "206.3", "232.1", "257.9", "283.7", "309.5",
    "335.3", "361.1", "386.9", "412.7", "438.5", "464.3", "490.1", "515.9", "541.7", "567.5", "593.3", "619.0",
    "644.8", "670.6", "696.4", "722.2", "748.0", "773.8", "799.6", "825.4", "851.2", "877.0", "902.8", "928.6",
    "954.4", "980.2", "1006.2", "1033.3", "1061.1", "1089.7", "1119.1", "1149.3", "1180.3", "1212.1", "1244.8", "1278.3",
    "1312.8", "1348.2", "1384.5", "1421.8", "1460.2", "1499.5", "1539.9", "1581.4", "1624.1", "1667.9", "1712.8", "1759.0",
    "1806.4", "1855.1", "1905.1", "1956.5", "2009.2", "2063.4", "2119.0", "2176.1", "2234.8", "2295.0", "2356.9", "2420.4",
    "2485.7", "2552.7", "2621.5", "2692.2", "2764.7", "2839.3", "2915.8", "2994.4", "3075.1", "3158.0", "3243.2", "3330.6",
    "3420.4", "3512.6", "3607.3", "3704.5", "3804.4", "3906.9", "4012.3", "4120.4", "4231.5", "4345.6", "4462.7", "4583.0",
    "4706.5", "4833.4", "4963.7", "5097.5", "5234.9", "5376.1", "5521.0", "5669.8", "5822.7", "5979.6", "6140.8", "6306.4",
    "6476.4", "6650.9", "6830.2", "7014.4", "7203.5", "7397.6", "7597.1", "7801.9", "8012.2", "8228.2", "8450.0", "8677.8",
    "8911.7", "9151.9", "9398.6", "9652.0", "9912.2", "10179.4", "10453.8", "10735.6",
];

/// Centres of the 64 bands of the preview, in Hz.
#[rustfmt::skip]
pub(super) const PREVIEW_CENTRES: [&str; 64] = [
    "51.2", "102.4", "153.6", "204.8", "256.0", "307.1", "358.3", "409.5", "460.7", "511.9", "563.1", "614.3",
    "665.5", "716.7", "767.9", "819.0", "870.2", "921.4", "972.6", "1024.9", "1080.4", "1139.0", "1200.7", "1265.8",
    "1334.4", "1406.8", "1483.0", "1563.4", "1648.2", "1737.5", "1831.7", "1931.0", "2035.7", "2146.1", "2262.4", "2385.0",
    "2514.3", "2650.6", "2794.3", "2945.8", "3105.5", "3273.8", "3451.3", "3638.4", "3835.6", "4043.6", "4262.8", "4493.9",
    "4737.5", "4994.3", "5265.0", "5550.4", "5851.3", "6168.5", "6502.9", "6855.4", "7227.1", "7618.9", "8031.9", "8467.3",
    "8926.3", "9410.2", "9920.3", "10458.1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_centres() {
        for (labels, count) in [(&MEL_CENTRES[..], 128), (&PREVIEW_CENTRES[..], 64)] {
            let corners = corners(count, 11_025.0);
            let centres: Vec<String> = corners[1..=count].iter().map(|centre| format!("{centre:.1}")).collect();
            assert_eq!(labels, centres);
            assert!((corners[0], corners[count + 1]) == (0.0, corners[count + 1]));
            assert!((corners[count + 1] - 11_025.0).abs() < 1e-6);
        }
    }

    #[test]
    fn triangles_of_height_one_share_every_bin() {
        let bank = Bank::new(64, 22_050, 2_048, |_| 1.0);
        let mut total = vec![0.0; 1_025];
        for band in &bank.bands {
            for (bin, weight) in bank.weights[band.weights.clone()].as_flattened().iter().enumerate() {
                total[band.first_bin + bin] += weight;
            }
        }
        // Between the first centre (51 Hz) and the last (10.5 kHz).
        assert!(total[6..950].iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }
}
