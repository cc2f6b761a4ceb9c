//! Maps of colours: a grid of values as an image.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::colours::magma;

/// Shades of a map: finer ones look alike, and take more bytes.
pub const SHADES: u8 = 64;

/// Values by column (time, from left to right) and row (from the lowest up), each a share of the range from dark (0) to light (1).
pub struct Map {
    columns: usize,
    rows: usize,
    /// Shades of the pixels, the highest row first, as in an image.
    pixels: Vec<u8>,
}

impl Map {
    /// Asks for the share of each column and row. What is not a number is dark.
    pub fn new(columns: usize, rows: usize, share: impl Fn(usize, usize) -> f64) -> Map {
        // A cast of what is not a number gives 0.
        let shade = |share: f64| (share.clamp(0.0, 1.0) * f64::from(SHADES - 1)).round() as u8;
        let every = (0..rows).rev().flat_map(|row| (0..columns).map(move |column| (column, row)));
        Map { columns, rows, pixels: every.map(|(column, row)| shade(share(column, row))).collect() }
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// As a PNG file in a `data:` address.
    pub(crate) fn address(&self) -> Result<String, png::EncodingError> {
        Ok(format!("data:image/png;base64,{}", STANDARD.encode(self.png()?)))
    }

    /// As a PNG file.
    ///
    /// # Errors
    /// For a map without columns or rows.
    pub fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let palette: Vec<u8> = (0..SHADES).flat_map(shade).collect();
        let mut bytes = Vec::new();
        // An image of more columns or rows than fit into 32 bits would be larger than memory.
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let mut encoder = png::Encoder::new(&mut bytes, side(self.columns), side(self.rows));
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(palette);
        encoder.set_compression(png::Compression::High);
        // Neighbouring shades differ little; predicting them from one another packs indices badly all the same.
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }
}

/// The colour of one of the [`SHADES`], from the darkest to the lightest: red, green, blue.
#[must_use]
pub fn shade(shade: u8) -> [u8; 3] {
    magma(f64::from(shade) / f64::from(SHADES - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_row_is_the_first_of_the_image() {
        let map = Map::new(2, 3, |column, row| if (column, row) == (1, 2) { 1.0 } else { f64::NAN });
        assert_eq!(map.pixels, [0, SHADES - 1, 0, 0, 0, 0]);
        assert!(map.address().unwrap().starts_with("data:image/png;base64,"));
        assert!(Map::new(0, 12, |_, _| 0.0).is_empty());
    }
}
