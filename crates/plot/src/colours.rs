//! Colours that people with any colour vision can tell apart.

/// Curves, marks and areas: from the palette of M. Okabe and K. Ito, "Color Universal Design" (2008).
pub const BLUE: &str = "#0072b2";
/// See [`BLUE`].
pub const GREEN: &str = "#009e73";
/// See [`BLUE`].
pub const VERMILION: &str = "#d55e00";
/// See [`BLUE`].
pub const PURPLE: &str = "#cc79a7";
/// See [`BLUE`].
pub const BLACK: &str = "#000000";
/// What is seen on a dark map.
pub const WHITE: &str = "#ffffff";

/// `magma` at even steps, a map whose lightness rises evenly (N. Smith and S. van der Walt, matplotlib 1.5, CC0).
const MAGMA: [[u8; 3]; 11] = [
    [0x00, 0x00, 0x04],
    [0x14, 0x0e, 0x36],
    [0x3b, 0x0f, 0x70],
    [0x64, 0x1a, 0x80],
    [0x8c, 0x29, 0x81],
    [0xb7, 0x37, 0x79],
    [0xde, 0x49, 0x68],
    [0xf7, 0x70, 0x5c],
    [0xfe, 0x9f, 0x6d],
    [0xfe, 0xcf, 0x92],
    [0xfc, 0xfd, 0xbf],
];

/// The colour of a value from 0 (dark) to 1 (light); what lies outside has the colour of the nearest end.
pub(crate) fn magma(value: f64) -> [u8; 3] {
    let place = value.clamp(0.0, 1.0) * (MAGMA.len() - 1) as f64;
    let first = (place as usize).min(MAGMA.len() - 2);
    let share = place - first as f64;
    let mix = |channel: usize| {
        let (from, to) = (f64::from(MAGMA[first][channel]), f64::from(MAGMA[first + 1][channel]));
        (from + share * (to - from)).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}
