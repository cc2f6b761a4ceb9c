//! Tags and covers of songs, through the router.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod catalogue;

use antiphon_identity::Principal;
use antiphon_platform::clock::SECOND;
use antiphon_platform::db::Engine;
use antiphon_platform::on_both_engines;
use axum::body::Body;
use catalogue::{Catalogue, id_of, wav};
use http::Request;
use http::response::Parts;
use serde_json::{Value, json};

const JPEG: &[u8] = b"\xff\xd8\xff\xe0 a picture that nobody decodes";

/// A chunk of a RIFF file.
fn chunk(id: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let padding: &[u8] = if content.len() % 2 == 1 { &[0] } else { &[] };
    [&id[..], &(content.len() as u32).to_le_bytes(), content, padding].concat()
}

/// A frame of ID3v2.3.
fn frame(id: &str, content: &[u8]) -> Vec<u8> {
    [id.as_bytes(), &(content.len() as u32).to_be_bytes(), &[0; 2], content].concat()
}

/// A song with an ID3v2 tag of `frames` behind its sound.
fn tagged(seed: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    let body = frames.concat();
    let size = [21, 14, 7, 0].map(|shift| (body.len() >> shift & 0x7f) as u8);
    [wav(seed), chunk(b"id3 ", &[b"ID3\x03\0\0", &size[..], &body].concat())].concat()
}

fn title(title: &str) -> Vec<u8> {
    frame("TIT2", &[b"\0", title.as_bytes()].concat())
}

fn front(image: &[u8]) -> Vec<u8> {
    frame("APIC", &[b"\0text/html\0\x03\0", image].concat())
}

impl Catalogue {
    async fn cover(&self, song: &[u8], headers: &[(&str, &str)]) -> (Parts, Vec<u8>) {
        let mut request = Request::get(format!("/api/v1/songs/{}/cover", id_of(song)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, body) = self.ask(Principal::Reader, request, Body::empty()).await.into_parts();
        (parts, axum::body::to_bytes(body, 1_000_000).await.unwrap().to_vec())
    }

    async fn song(&self, song: &[u8]) -> Value {
        self.get(&format!("/api/v1/songs/{}", id_of(song))).await.1
    }

    async fn delete(&self, song: &[u8]) {
        let request = Request::delete(format!("/api/v1/songs/{}", id_of(song)));
        assert_eq!(self.ask(Principal::Operator, request, Body::empty()).await.status(), 204);
    }
}

on_both_engines! {
    a_song_says_what_its_tags_say,
    songs_with_the_same_cover_share_it,
}

async fn a_song_says_what_its_tags_say(on: Engine) {
    let catalogue = Catalogue::open_on(on).await;
    let frames = [
        title("Höhle"),
        frame("TPE1", b"\0Ana"),
        frame("TALB", b"\0Tree"),
        frame("TRCK", b"\x003/12"),
        frame("TXXX", b"\0REPLAYGAIN_TRACK_GAIN\0-7.25 dB"),
        frame("TSRC", b"\0not one"),
    ];
    let song = tagged(1, &frames);
    assert_eq!(catalogue.upload("file name.wav", song.clone()).await.0, 202);
    let info = catalogue.song(&song).await;
    assert_eq!((&info["artist"], &info["album"]), (&json!("Ana"), &json!("Tree")));
    // The frame says Latin-1.
    assert_eq!(info["title"], "HÃ¶hle");
    assert_eq!(
        info["tags"],
        json!({"title": "HÃ¶hle", "artist": "Ana", "artists": ["Ana"], "album": "Tree", "track": 3, "track_total": 12,
            "replay_gain": {"track_gain": -7.25}, "lyrics": false})
    );
    assert_eq!(info["tag_warnings"], json!(["an ISRC cannot be read"]));
    assert!(info.get("cover").is_none());

    for query in ["h%C3%A3%C2%B6HLE", "ANA", "tree", "file%20name"] {
        let found = catalogue.get(&format!("/api/v1/songs?query={query}")).await.1;
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{query}");
        assert!(found["items"][0].get("tags").is_none(), "lists are short");
    }
    let across = catalogue.get("/api/v1/songs?query=anatree").await.1;
    assert_eq!(across["items"], json!([]), "texts end where they end");

    // A song without tags has none, and the name of its file.
    catalogue.upload("plain.wav", wav(2)).await;
    let plain = catalogue.song(&wav(2)).await;
    assert_eq!((&plain["title"], plain.get("tags"), plain.get("cover")), (&json!("plain"), None, None));
}

async fn songs_with_the_same_cover_share_it(on: Engine) {
    let catalogue = Catalogue::open_on(on).await;
    let songs = [tagged(1, &[front(JPEG)]), tagged(2, &[title("b"), front(JPEG)])];
    for song in &songs {
        assert_eq!(catalogue.upload("a.wav", song.clone()).await.0, 202);
        assert_eq!(catalogue.song(song).await["cover"], format!("/api/v1/songs/{}/cover", id_of(song)));
        let (parts, picture) = catalogue.cover(song, &[]).await;
        assert_eq!((parts.status.as_u16(), &picture[..]), (200, JPEG));
        assert_eq!(parts.headers["content-type"], "image/jpeg", "whatever the tag says it is");
        assert_eq!(parts.headers["x-content-type-options"], "nosniff");
        let etag = parts.headers["etag"].to_str().unwrap();
        assert_eq!(catalogue.cover(song, &[("if-none-match", etag)]).await.0.status, 304);
        assert_eq!(catalogue.cover(song, &[("range", "bytes=0-2")]).await.1, &JPEG[..3]);
    }
    assert_eq!(catalogue.objects(), 3, "two songs, one picture");
    catalogue.delete(&songs[0]).await;
    assert_eq!(catalogue.objects(), 2);
    assert_eq!(catalogue.cover(&songs[1], &[]).await.1, JPEG);
    catalogue.delete(&songs[1]).await;
    assert_eq!(catalogue.objects(), 0);
    assert_eq!(catalogue.cover(&songs[1], &[]).await.0.status, 404);
    // And it can come back.
    catalogue.upload("a.wav", songs[0].clone()).await;
    assert_eq!((catalogue.cover(&songs[0], &[]).await.1.as_slice(), catalogue.objects()), (JPEG, 2));
    catalogue.clock.advance(48 * 3_600 * SECOND);
    let swept = antiphon_catalog::sweep(&catalogue.db, &*catalogue.blobs, &catalogue.clock).await.unwrap();
    assert_eq!((swept, catalogue.objects()), (0, 2), "nothing is left over");
}

#[tokio::test]
async fn the_same_cover_uploaded_at_once_is_one() {
    let catalogue = Catalogue::open().await;
    let songs: Vec<Vec<u8>> = (1..9).map(|seed| tagged(seed, &[front(JPEG)])).collect();
    let uploads = songs.iter().map(|song| catalogue.upload("a.wav", song.clone()));
    for (status, answer) in futures::future::join_all(uploads).await {
        assert_eq!(status, 202, "{answer}");
    }
    assert_eq!(catalogue.objects(), 9);
    for song in &songs {
        assert_eq!(catalogue.cover(song, &[]).await.1, JPEG);
    }
}

#[tokio::test]
async fn hostile_tags_cost_no_song_its_place() {
    let catalogue = Catalogue::open().await;
    let mut lie = title("never read");
    lie[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut unending = wav(3);
    unending.extend(b"id3 \xff\xff\xff\xffID3\x04\0\xff\x7f\x7f\x7f\x7f");
    let cases = [
        ("a size that lies", tagged(1, &[frame("TPE1", b"\0Ana"), lie])),
        ("a page for a picture", tagged(2, &[frame("TPE1", b"\0Ana"), front(b"<html><script>alert(1)</script>")])),
        ("no end", unending),
        ("control characters", tagged(4, &[title("\0\x1b[31m\u{7}"), frame("TPE1", b"\0A\0na\r\n")])),
        ("a program's quotes", tagged(5, &[title("'); DROP TABLE songs; --"), frame("TPE1", b"\0<b>Ana</b>")])),
    ];
    for (name, song) in cases {
        let (status, answer) = catalogue.upload("name.wav", song.clone()).await;
        assert_eq!(status, 202, "{name}: {answer}");
        let info = catalogue.song(&song).await;
        assert!(info.get("cover").is_none(), "{name}: {info}");
        let texts = [&info["title"], &info["artist"]];
        assert!(texts.iter().filter_map(|text| text.as_str()).all(|text| !text.contains(char::is_control)), "{info}");
        assert_eq!(catalogue.cover(&song, &[]).await.0.status, 404, "{name}");
    }
    assert_eq!(catalogue.get("/api/v1/songs").await.1["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn covers_are_for_who_may_read() {
    let catalogue = Catalogue::open().await;
    let song = tagged(1, &[front(JPEG)]);
    catalogue.upload("a.wav", song.clone()).await;
    for (principal, status) in [(Principal::Public, 200), (Principal::Sensor(String::from("roof")), 403)] {
        let request = Request::get(format!("/api/v1/songs/{}/cover", id_of(&song)));
        assert_eq!(catalogue.ask(principal, request, Body::empty()).await.status(), status);
    }
}
