//! ReplayGain 2.0 of real music against ffmpeg's measurement of loudness (filter `ebur128`), which runs here.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test helper that panics says what failed")]

use std::io::Write;
use std::process::{Command, Stdio};

use antiphon_features::algorithm::Stream;
use antiphon_features::session::{Item, Session, SummaryValue};

/// From Debian's package `wesnoth-1.16-music`.
const MUSIC: &str = "/usr/share/games/wesnoth/1.16/data/core/music";

fn ffmpeg(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed by `cargo xtask test`");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    writer.join().unwrap().unwrap();
    output.stdout
}

/// Integrated loudness in LUFS: the last value that the filter tells.
fn loudness_by_ffmpeg(pcm: &[u8], rate: &str, channels: &str) -> f64 {
    let filter = "ebur128=metadata=1,ametadata=mode=print:key=lavfi.r128.I:file=-";
    let input = ["-f", "f32le", "-ar", rate, "-ac", channels, "-i", "-"];
    let output = ffmpeg(&[&input[..], &["-af", filter, "-f", "null", "-"]].concat(), pcm);
    let text = String::from_utf8(output).unwrap();
    text.lines().rev().find_map(|line| line.strip_prefix("lavfi.r128.I=")).unwrap().parse().unwrap()
}

#[test]
fn gain_and_peak_of_real_music() {
    let mut largest = 0.0_f64;
    for (file, rate, channels) in [
        ("love_theme.ogg", 44_100, 2),
        ("knolls.ogg", 48_000, 1),
        ("battle.ogg", 48_000, 2),
        ("elf-land.ogg", 22_050, 2),
        ("wanderer.ogg", 96_000, 2),
        ("suspense.ogg", 44_100, 1),
    ] {
        let (rate_text, channels_text) = (rate.to_string(), channels.to_string());
        let path = format!("{MUSIC}/{file}");
        let pcm = ffmpeg(&["-t", "40", "-i", &path, "-ar", &rate_text, "-ac", &channels_text, "-f", "f32le", "-"], &[]);
        let interleaved: Vec<f32> = pcm.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let split = |channel| interleaved.iter().skip(channel).step_by(usize::from(channels)).copied();
        let split: Vec<Vec<f32>> = (0..usize::from(channels)).map(|channel| split(channel).collect()).collect();
        let stream = Stream { rate, channels, first_sample: 0, first_body_sample: 0, song: true, calibration_db: None };
        let outputs = vec!["track_gain".to_owned(), "track_peak".to_owned()];
        let item = Item { algorithm: "loudness".into(), outputs, ..Item::default() };
        let mut session = Session::new(&[item], &stream).unwrap();
        session.push(&split.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let found: Vec<f64> = session
            .finish()
            .summaries
            .into_iter()
            .map(|summary| match summary.value {
                SummaryValue::Number(value) => value,
                other => panic!("{} of {file} is {other:?}", summary.output),
            })
            .collect();
        let [gain, peak] = found[..] else { panic!("two summaries were asked for") };
        let expected = -18.0 - loudness_by_ffmpeg(&pcm, &rate_text, &channels_text);
        assert!((gain - expected).abs() <= 0.05, "{file} at {rate}: {gain}, not {expected}");
        largest = largest.max((gain - expected).abs());
        let largest_sample = interleaved.iter().fold(0.0_f32, |largest, sample| largest.max(sample.abs()));
        assert_eq!(peak, f64::from(largest_sample));
    }
    println!("largest difference of track gain: {largest:.4} dB");
}
