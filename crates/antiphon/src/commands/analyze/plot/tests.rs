use antiphon_audio::encode::{PcmFormat, Samples, wav};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roxmltree::{Document, Node};

use super::*;

const RATE: u32 = 22_050;

fn drawn(name: &str, samples: &[f32]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let format = PcmFormat { rate: RATE, channels: 1, bits: 16, float: false };
    std::fs::write(&path, wav(&format, Samples::Floats(samples)).unwrap()).unwrap();
    picture(&path).unwrap().svg().unwrap()
}

fn sine(frequency: f32, seconds: f32) -> Vec<f32> {
    let step = std::f32::consts::TAU * frequency / RATE as f32;
    (0..(seconds * RATE as f32) as usize).map(|index| 0.5 * (step * index as f32).sin()).collect()
}

/// Width, height and pixels of the picture's image.
fn image(document: &Document<'_>) -> (usize, usize, Vec<u8>) {
    let node = document.descendants().find(|node| node.has_tag_name("image")).unwrap();
    let data = node.attribute("href").unwrap().strip_prefix("data:image/png;base64,").unwrap();
    let bytes = STANDARD.decode(data).unwrap();
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width as usize, info.height as usize, pixels)
}

fn texts<'a>(document: &'a Document<'_>) -> Vec<&'a str> {
    document
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .filter_map(|node: Node<'_, '_>| node.text())
        .collect()
}

#[test]
fn a_tone_shines_in_its_row_and_the_axes_are_labelled() {
    let svg = drawn("tone.wav", &sine(1_000.0, 3.0));
    let document = Document::parse(&svg).unwrap();
    let (width, height, pixels) = image(&document);
    assert_eq!((width, height), (1 + 3 * RATE as usize / 512, 128));
    let light =
        |row: usize| pixels[3 * (row * width + width / 2)..][..3].iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let brightest = (0..height).max_by_key(|row| light(*row)).unwrap();
    // Band 38 is centred at 1,006 Hz; the highest band is row 0.
    assert!((88..=90).contains(&brightest), "{brightest}");
    let texts = texts(&document);
    for label in ["tone.wav", "1k", "-10", "1.0 s", "2.0 s"] {
        assert!(texts.contains(&label), "{label}: {texts:?}");
    }
    assert!(texts.iter().any(|text| text.contains("22050 Hz") && text.contains("LUFS")), "{texts:?}");
}

#[test]
fn names_are_text_and_never_markup() {
    let svg = drawn("a<b>&\u{7}c.wav", &sine(440.0, 0.2));
    assert!(texts(&Document::parse(&svg).unwrap()).contains(&"a<b>&\u{fffd}c.wav"));
}

#[test]
fn what_is_short_or_silent_is_drawn_too() {
    for samples in [vec![0.5], vec![0.0; 30_000], vec![1.0; 100]] {
        let svg = drawn("odd.wav", &samples);
        let numbers = svg.replace("aria-labelledby", "");
        assert!(!numbers.contains("NaN") && !numbers.contains("inf\"") && !numbers.contains("inf "), "{svg}");
        Document::parse(&svg).unwrap();
    }
}

#[test]
fn bins_are_joined_so_that_memory_does_not_grow() {
    let mut track = Track::new("level", "a").unwrap();
    let frames = MOST_BINS as u64 * 5 + 3;
    for index in 0..frames {
        let value = if index.is_multiple_of(7) { f32::NAN } else { index as f32 };
        track.place(index, &[value]);
    }
    assert_eq!((track.per_bin, track.bins()), (8, frames.div_ceil(8) as usize));
    // Frames 8 to 15 without 14.
    let expected = (8..16).filter(|index| index % 7 != 0).sum::<i32>();
    assert_eq!(track.value(1, 0), Some(f64::from(expected) / 7.0));
    let mut envelope = Envelope { per_bin: 1, next: 0, bins: Vec::new() };
    let samples: Vec<f32> = (0..MOST_BINS * 3).map(|index| index as f32).collect();
    envelope.add(&[&samples[..5]]);
    envelope.add(&[&samples[5..]]);
    assert_eq!((envelope.per_bin, envelope.bins[1]), (4, (4.0, 7.0)));
}
