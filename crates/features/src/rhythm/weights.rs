//! What the numbers of [`super::evidence`] weigh.

use super::evidence::NUMBERS;

/// What makes beats likely, for each number of the evidence: the weights of a softmax over all candidates of a song.
/// `evaluation/fit_rhythm.py` fitted them to the halves for tuning: 351 pieces rendered from scores and 216 of loops and game music, of which the latter
/// count twice as much. They make the expected mean of beat F and tempo Accuracy 1 largest, with a penalty of 1 on the sum of
/// squares of the weights of standardised evidence, chosen by cross-validation over scores.
#[rustfmt::skip]
pub(super) const WEIGHTS: [f64; NUMBERS] = [
    -0.2442, -1.7002, -1.2131, 2.1842, -0.4643, -31.1831, 0.6492, 0.1720, 0.2042, 0.0711,
    -0.5213, -0.2872, 0.4578, 0.0253, -0.0383, 0.4138, 0.3863, -0.1113, 0.4631, -0.0057,
    0.4368, 0.5318, 0.5345, -0.2459, 1.1835, -0.2031, -0.3077, 0.2278, 0.2099, -0.7249,
    2.6611, -2.6376, -5.8408, -0.5241, 0.2720, 1.1600, 0.2011, 0.3001, 0.2297, -0.6122,
    -4.7269, 2.9476, 3.6471, 1.7634, -1.1427, 0.5873, -1.3665, 1.7566, 2.1317, 1.9981,
    1.5743, -1.0414, 1.2377, 5.6863, -0.7961, -1.8507, -1.1407, 0.9667, 2.3714, -1.7794,
    0.6272, 0.9105, 0.8891, 3.4417, -1.9746, 0.4511, -0.7589, 0.3877, 0.6313, 0.4517,
    -0.9690, 3.1401, 1.2211, 0.4336, -0.6258, 1.9334, 0.6396, -0.8157, 2.8428, -0.7651,
    -1.7048, 1.9543, -2.0650, -0.8484, -2.8307, -0.1280, -0.8453, -4.0145, -0.8801, -0.2201,
    -1.0007, 0.4702, -1.4677, 4.5467, 0.2585, 0.1607, -1.0586, 0.4806, -0.1441, -2.0872,
    -2.5222, -0.7537, -0.1431, -0.9586, 0.4633, -1.3180, 0.7071, 1.7749, -0.2156, -1.4661,
    -3.1439, 0.4028, -1.7079, -2.5033, 0.4751, 1.2564, -2.1695, 0.0916, -1.9285,
];
