//! What the numbers of [`super::evidence`] weigh.

use super::evidence::NUMBERS;

/// What makes beats likely, for each number of the evidence: the weights of a softmax over all candidates of a song.
/// `evaluation/fit_rhythm.py` fitted them to the halves for tuning: 351 pieces rendered from scores and 216 of loops and game music, of which the latter
/// count twice as much. They make the expected mean of beat F and tempo Accuracy 1 largest, with a penalty of 1 on the sum of
/// squares of the weights of standardised evidence, chosen by cross-validation over scores.
#[rustfmt::skip]
pub(super) const WEIGHTS: [f64; NUMBERS] = [
    -0.2166, -1.7273, -1.1886, 2.0306, -0.2276, -18.2659, 0.7374, 0.1631, 0.1555, -0.0850,
    -0.5318, -0.3302, 0.6438, 0.0549, -0.0422, 0.0673, 0.5955, -0.2436, 0.5718, -0.0590,
    0.3994, 0.4720, 0.5667, -0.3597, 1.1864, -0.1943, -0.5250, 0.1662, 0.0843, -0.5229,
    3.7732, -3.0131, -6.2474, -1.0467, -0.3760, 1.3458, 0.1526, 0.2025, 0.1026, -0.6537,
    -2.8686, 3.6582, 2.7222, 1.7583, -0.5086, 1.0501, -0.9849, 1.6808, 1.8508, 1.9767,
    1.5713, -1.4607, 1.3125, 5.5490, -0.9650, -1.8180, -0.7315, 1.4909, 2.3099, -1.3842,
    0.4064, 0.8216, 1.1199, 3.2990, -1.9804, 0.5998, -0.7897, 0.5685, 1.1569, 0.5692,
    -0.9908, 2.4897, 0.9731, 0.6520, -0.3432, 1.6926, 0.6670, -0.7581, 2.9456, -0.7354,
    -1.9909, 1.4879, -2.1396, -0.6494, -2.5662, 0.0957, -0.9563, -3.7881, -0.6688, 0.2196,
    -1.0733, 0.6844, -1.1782, 4.3000, -0.1967, -0.3908, -1.4808, 0.2170, -0.3573, -2.0776,
    -2.9219, -0.8504, -0.3562, -1.2981, 0.3720, -0.8852, 0.7314, 1.8567, -0.2655, -1.5005,
    -2.9909, 0.2042, -1.1440, -2.0434, 0.0693, 1.5241, -2.4306, 0.0545, -1.6800, 0.4477,
    0.4914,
];
