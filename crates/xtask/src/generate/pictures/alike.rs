//! Whether two pictures show the same.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Whether two pictures are the same but for the last digits of numbers and single shades of their maps.
///
/// Transforms and logarithms round otherwise on another processor, and a value that lies between two pixels or shades falls on either
/// side. Everything else must be equal.
pub fn alike(a: &str, b: &str) -> bool {
    a == b || {
        let (a, b) = (pieces(a), pieces(b));
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || numbers_alike(a, b) || maps_alike(a, b))
    }
}

/// Numbers, images, and what is between them.
fn pieces(svg: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    for (index, part) in svg.split('"').enumerate() {
        // Every second part is the value of an attribute.
        if index % 2 == 1 && part.starts_with(IMAGE) {
            pieces.push(part);
        } else {
            pieces.extend(part.split_inclusive(is_end).flat_map(|piece| {
                let end = piece.find(is_end).unwrap_or(piece.len());
                [&piece[..end], &piece[end..]]
            }));
        }
    }
    pieces
}

/// Whether a character is in no number; a minus that follows a digit begins another.
fn is_end(character: char) -> bool {
    !character.is_ascii_digit() && character != '.' && character != '-'
}

/// Fractions at most one apart in the last digit, which both must have at the same place. Whole numbers are places of panels and
/// counts, which do not come from rounding.
fn numbers_alike(a: &str, b: &str) -> bool {
    let digits = |text: &str| text.split_once('.').map_or(0, |(_, digits)| digits.len());
    let (Ok(x), Ok(y)) = (a.parse::<f64>(), b.parse::<f64>()) else { return false };
    digits(a) == digits(b)
        && digits(a) > 0
        && (x - y).abs() <= 1.01 * 10_f64.powi(-i32::try_from(digits(a)).unwrap_or(0))
}

const IMAGE: &str = "data:image/png;base64,";

/// Images of one size whose shades are at most one apart.
fn maps_alike(a: &str, b: &str) -> bool {
    let (Some(a), Some(b)) = (shades(a), shades(b)) else { return false };
    a.0 == b.0 && a.1.iter().zip(&b.1).all(|(a, b)| a.abs_diff(*b) <= 1)
}

/// Width and height of an image, and the index of each pixel's shade.
fn shades(address: &str) -> Option<((u32, u32), Vec<u8>)> {
    let bytes = STANDARD.decode(address.strip_prefix(IMAGE)?).ok()?;
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut pixels).ok()?;
    Some(((frame.width, frame.height), pixels))
}

#[cfg(test)]
mod tests {
    use antiphon_plot::{Drawing, Layout, Map, Panel, colours};

    use super::*;

    /// A picture with a curve through this share and a map of two such shares.
    fn picture(title: &str, curve: f64, map: f64) -> String {
        let layout = Layout { width: 300.0, height: 200.0, left: 50.0, right: 290.0, seconds: 2.0 };
        let panel = Panel { top: 60.0, height: 100.0 };
        let mut drawing = Drawing::new(layout, title, "", "");
        drawing.curve(panel, [(0.0, Some(0.5)), (1.0, Some(curve))].into_iter(), colours::BLUE, "");
        drawing.map(panel, &Map::new(2, 1, |_, _| map), 2.0).unwrap();
        drawing.finish()
    }

    #[test]
    fn rounding_is_alike_and_all_else_is_not() {
        let first = picture("a", 0.25, 0.5);
        assert!(alike(&first, &picture("a", 0.25, 0.5)));
        assert!(alike(&first, &picture("a", 0.251, 0.5 + 1.0 / 63.0)), "a tenth of a pixel, one shade");
        assert!(!alike(&first, &picture("b", 0.25, 0.5)), "a word");
        assert!(!alike(&first, &picture("a", 0.254, 0.5)), "four tenths of a pixel");
        assert!(!alike(&first, &picture("a", 0.25, 0.6)), "six shades");
        assert!(!alike(&first, &first.replace("</svg>", "<g/></svg>")), "an element");
        assert!(numbers_alike("-0.1", "0.0") && !numbers_alike("1.0", "1") && !numbers_alike("26", "27"));
    }
}
