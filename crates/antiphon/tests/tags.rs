//! Tags and covers through the binary: a tagged file of every format goes in, and comes back with what it says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{Antiphon, Client, start};

/// A tone of half a second with tags, and with a picture where `picture` names one, as ffmpeg writes it.
fn tagged(path: &Path, title: &str, picture: Option<&Path>, options: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-y", "-v", "error", "-f", "lavfi", "-i", "sine=440:r=48000:d=0.5"]);
    if let Some(picture) = picture {
        command.arg("-i").arg(picture).args([
            "-map",
            "0",
            "-map",
            "1",
            "-c:v",
            "copy",
            "-disposition:v",
            "attached_pic",
        ]);
    }
    let metadata =
        [("title", title), ("artist", "Bjørk & Ärzte"), ("album", "夜の歌"), ("track", "2/9"), ("date", "1984")];
    for (name, value) in metadata {
        command.arg("-metadata").arg(format!("{name}={value}"));
    }
    let status = command.args(options).arg(path).status().unwrap();
    assert!(status.success(), "{}", path.display());
    std::fs::read(path).unwrap()
}

fn upload(client: &Client, server: &Antiphon, name: &str, bytes: &[u8]) -> (u16, Value) {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [("content-disposition", disposition.as_str())];
    let answer = client.send("POST", &format!("{}/api/v1/songs", server.url()), &headers, bytes).unwrap();
    (answer.status, answer.json())
}

#[test]
fn a_file_of_every_format_that_is_taken_comes_back_with_its_tags() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder.path().join("data"), &["up", "--listen", "127.0.0.1:0"], &[]);
    let client = Client::operator(&folder.path().join("data"));
    let picture = folder.path().join("front.png");
    let drawn = Command::new("ffmpeg")
        .args(["-y", "-v", "error", "-f", "lavfi", "-i", "color=red:s=8x8", "-frames:v", "1"])
        .arg(&picture)
        .status()
        .unwrap();
    assert!(drawn.success());
    let pixels = std::fs::read(&picture).unwrap();

    let formats: [(&str, bool, &[&str]); 8] = [
        ("a.wav", false, &[]),
        ("a.flac", true, &[]),
        ("a.mp3", true, &["-id3v2_version", "3"]),
        ("b.mp3", true, &["-id3v2_version", "4", "-write_id3v1", "1"]),
        ("a.ogg", false, &["-c:a", "libvorbis"]),
        ("a.opus", false, &[]),
        ("a.m4a", true, &["-c:a", "aac"]),
        ("a.aiff", true, &["-write_id3v2", "1"]),
    ];
    let mut taken = Vec::new();
    for (name, has_picture, options) in formats {
        let title = format!("Straße {name}");
        let bytes = tagged(&folder.path().join(name), &title, has_picture.then_some(&*picture), options);
        let (status, song) = upload(&client, &server, "not the title.bin", &bytes);
        if antiphon_audio::sniff(&bytes).is_none() {
            assert_eq!(status, 415, "{name}: {song}");
            continue;
        }
        assert_eq!(status, 202, "{name}: {song}");
        let place = format!("{}/api/v1/songs/{}", server.url(), song["id"].as_str().unwrap());
        let song = client.get(&place).unwrap().json();
        assert_eq!((&song["title"], &song["artist"]), (&json!(title), &json!("Bjørk & Ärzte")), "{name}");
        assert_eq!(song["album"], "夜の歌", "{name}");
        let tags = &song["tags"];
        assert_eq!(
            (&tags["track"], &tags["track_total"], &tags["year"]),
            (&json!(2), &json!(9), &json!(1984)),
            "{name}"
        );
        assert_eq!(song["tag_warnings"], Value::Null, "{name}");
        let cover = client.get(&format!("{place}/cover")).unwrap();
        if has_picture {
            assert_eq!(cover.header("content-type"), "image/png", "{name}");
            assert_eq!((cover.header("x-content-type-options"), &cover.body), ("nosniff", &pixels), "{name}");
            let headers = [("if-none-match", cover.header("etag"))];
            assert_eq!(client.send("GET", &format!("{place}/cover"), &headers, b"").unwrap().status, 304, "{name}");
        } else {
            assert_eq!((cover.status, song.get("cover")), (404, None), "{name}");
        }
        let found = client.get(&format!("{}/api/v1/songs?query=STRASSE%20{name}", server.url())).unwrap().json();
        assert_eq!(found["items"], json!([]), "{name}: \u{df} is a letter of its own");
        let found = client.get(&format!("{}/api/v1/songs?query=stra%C3%9Fe%20{name}", server.url())).unwrap().json();
        assert_eq!(found["items"][0]["id"], song["id"], "{name}");
        taken.push(name);
    }
    assert_eq!(taken.len(), formats.len(), "{taken:?}");
}

#[test]
fn hostile_tags_fail_no_song() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder.path().join("data"), &["up", "--listen", "127.0.0.1:0"], &[]);
    let client = Client::operator(&folder.path().join("data"));
    let plain = tagged(&folder.path().join("a.flac"), "never read", None, &[]);
    // An ID3v2 tag in front that says it has a picture of 200 MB, and has a frame before it that can be read.
    let frame = |id: &[u8; 4], length: u32, content: &[u8]| [&id[..], &length.to_be_bytes(), &[0, 0], content].concat();
    let frames = [frame(b"TPE4", 4, b"\0abc"), frame(b"APIC", 200 << 20, b"\0image/png\0\x03\0")].concat();
    let size = [21, 14, 7, 0].map(|shift| (frames.len() >> shift & 0x7f) as u8);
    let tag = [b"ID3\x03\0\0", &size[..], &frames].concat();
    // Comments whose number is a lie.
    let mut lie = plain.clone();
    let comments = lie.windows(4).position(|window| window == b"\x06\0\0\0" || window == b"\x07\0\0\0");
    if let Some(position) = comments {
        lie[position..position + 4].fill(0xff);
    }
    let cases = [("a tag that breaks off", [tag, plain.clone()].concat()), ("a number that lies", lie)];
    for (name, bytes) in cases {
        let (status, song) = upload(&client, &server, "name.flac", &bytes);
        assert_eq!(status, 202, "{name}: {song}");
        let place = format!("{}/api/v1/songs/{}?wait=30", server.url(), song["id"].as_str().unwrap());
        let song = client.get(&place).unwrap().json();
        assert_eq!(song["status"], "stored", "{name}: {song}");
        assert_ne!(song["tag_warnings"], Value::Null, "{name}: {song}");
    }
}
