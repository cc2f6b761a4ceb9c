//! Pages of a great many sensors and songs, and of a year: as light and as quick as those of a few.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use support::database::{YEAR, execute};
use support::pages::{Visitor, a_year, text};
use support::{Client, MAY, rfc3339, start, wav};

/// What a page may weigh without its styles and scripts, in bytes.
const LIGHT: usize = 60_000;

/// What the server may take to make one, in ms, on a machine that does nothing else.
const QUICK: u128 = 300;

const SENSORS: usize = 10_000;
const SONGS: usize = 100_000;
const UP: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];
const PUBLIC: [(&str, &str); 1] = [("ANTIPHON_AUTH__PUBLIC_READS", "true")];

/// Gets a page, and says what it took.
fn page(visitor: &Visitor, path: &str) -> String {
    let begun = Instant::now();
    let answer = visitor.get(path);
    let (took, page) = (begun.elapsed().as_millis(), text(&answer));
    println!("{path}: {} bytes in {took} ms", page.len());
    assert_eq!(answer.status, 200, "{path}: {page}");
    assert!(page.len() < LIGHT, "{path}: {} bytes", page.len());
    assert!(cfg!(debug_assertions) || took < QUICK, "{path}: {took} ms");
    page
}

/// Where the page's link to more leads.
fn more(page: &str) -> String {
    let (before, _) = page.split_once("rel=\"next\"").unwrap_or_else(|| panic!("no link to more: {page}"));
    before.rsplit_once("href=\"").unwrap().1.split('"').next().unwrap().replace("&amp;", "&")
}

/// Makes thousands of the one sensor and the one song that there are.
fn multiply(data: &Path) {
    let numbers = |most: usize| {
        format!("with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {}) ", most - 1)
    };
    let sensors = format!(
        "{} insert into sensors (id, name, plan, plan_version, retention, created_at) \
         select printf('z%05d', n), printf('Yard %d', n), plan, plan_version, retention, created_at from sensors, numbers",
        numbers(SENSORS)
    );
    let songs = format!(
        "{} insert into songs (id, status, title, artist, search, duration, size, media_type, blob, accepted_at, stored_at) \
         select randomblob(20), status, printf('Song %d', n), 'Crowd', printf('song %d crowd', n), duration, size, media_type, \
         blob, accepted_at + n, stored_at from songs, numbers",
        numbers(SONGS)
    );
    execute(data, &[&sensors, &songs]);
}

#[test]
fn ten_thousand_sensors_and_a_hundred_thousand_songs_are_shown_a_page_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &UP, &[]);
    let client = Client::operator(&data);
    assert_eq!(client.post_json(&format!("{}/api/v1/sensors", up.url()), &json!({ "id": "first" })).status, 201);
    let song = client.send("POST", &format!("{}/api/v1/songs", up.url()), &[], &wav(1, 22_050, 22_050)).unwrap();
    let song = song.json()["id"].as_str().unwrap().to_owned();
    let stored = client.get(&format!("{}/api/v1/songs/{song}?wait=30", up.url())).unwrap().json();
    assert_eq!(stored["status"], "stored", "{stored}");
    assert!(up.stop().success());
    multiply(&data);
    let up = start(&data, &UP, &PUBLIC);
    let visitor = Visitor::new(up.url());

    let now = page(&visitor, "/");
    assert_eq!(now.matches("href=\"/sensors/").count(), 24);
    assert!(now.contains("role=\"search\""), "a sensor among many is asked for by its id");
    let second = page(&visitor, &more(&now));
    assert!(!second.contains("href=\"/sensors/first\"") && second.contains("href=\"/sensors/z00024\""), "{second}");
    let found = visitor.get("/sensors?id=z09999");
    assert_eq!((found.status, found.header("location")), (303, "/sensors/z09999"));
    assert!(page(&visitor, "/sensors/z09999").contains("Yard 9999"));

    let songs = page(&visitor, "/songs");
    assert_eq!(songs.matches("href=\"/songs/").count(), 50);
    assert!(songs.contains("Song 99999") && page(&visitor, &more(&songs)).contains("Song 99949"));
    let found = page(&visitor, "/songs?query=song+4321");
    // Itself, and the ten whose numbers begin with its own.
    assert_eq!(found.matches("<bdi>Song 4321").count(), 11, "{found}");
    assert!(page(&visitor, "/songs?query=nobody").contains("Nothing found"));
}

#[test]
fn a_year_of_a_sensor_is_a_light_page() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    a_year(&data);
    let up = start(&data, &UP, &PUBLIC);
    let visitor = Visitor::new(up.url());
    let range = format!("from={}&to={}", rfc3339(MAY), rfc3339(MAY + YEAR));
    let whole = page(&visitor, &format!("/sensors/roof?{range}"));
    assert!(whole.contains("each day") && whole.contains("class=\"band\""), "{whole}");
    // Begin by begin of the curve: none of its 365 days is left out.
    let values = whole.split("data-values=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(values.split(',').filter(|value| !value.is_empty()).count(), 365);
    for part in ["chart", "picture.png"] {
        let begun = Instant::now();
        let answer = visitor.get(&format!("/sensors/roof/{part}?{range}"));
        println!("{part} of a year: {} bytes in {} ms", answer.body.len(), begun.elapsed().as_millis());
        assert_eq!(answer.status, 200, "{part}");
    }
    // Ten years, and ranges that nothing can be in.
    for (from, to) in [("2020", "2030"), ("0001", "9999"), ("9998", "9999")] {
        let answer = visitor.get(&format!("/sensors/roof?from={from}-01-01T00:00:00Z&to={to}-01-01T00:00:00Z"));
        assert!(answer.status == 200 || answer.status == 400, "{from} to {to}: {}", text(&answer));
        assert!(answer.body.len() < LIGHT, "{from} to {to}: {} bytes", answer.body.len());
    }
}
