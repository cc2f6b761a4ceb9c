//! API.md's table of bad requests, row by row, through the binary.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use serde_json::json;
use support::{Answer, Client, MAY, PATIENCE, rfc3339, start, wav};

/// A server with sensor `roof`, its operator, and the sensor's own key.
struct Server {
    _folder: tempfile::TempDir,
    data: std::path::PathBuf,
    process: support::Antiphon,
    operator: Client,
    sensor: Client,
}

fn server() -> Server {
    server_with(&[])
}

fn server_with(environment: &[(&str, &str)]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = start(&data, &["up", "--listen", "127.0.0.1:0"], environment);
    let operator = Client::operator(&data);
    let made = operator.post_json(&format!("{}/api/v1/sensors", process.url()), &json!({ "id": "roof" }));
    assert_eq!(made.status, 201, "{made:?}");
    let sensor = Client::new(made.json()["key"].as_str().unwrap());
    Server { _folder: folder, data, process, operator, sensor }
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.process.url())
    }

    fn get(&self, path: &str) -> Answer {
        self.operator.get(&self.url(path)).unwrap()
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.sensor.send("POST", &self.url(path), &[("content-type", "audio/wav")], body).unwrap()
    }

    /// Waits for the end of a recording.
    fn end_of(&self, id: &str) -> serde_json::Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.get(&format!("/api/v1/recordings/{id}?wait=20"));
            if answer.status == 200 && answer.json()["status"] != "accepted" {
                return answer.json();
            }
            assert!(std::time::Instant::now() < deadline, "{id} never ended: {answer:?}");
        }
    }
}

/// Checks a problem document; gives it.
#[track_caller]
fn problem(answer: &Answer, status: u16) -> serde_json::Value {
    assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let document = answer.json();
    for field in ["type", "title", "detail"] {
        assert!(document[field].as_str().is_some_and(|text| !text.is_empty()), "{field} is missing in {document}");
    }
    assert_eq!(document["status"], status);
    document
}

const FEATURES: &str = "/api/v1/sensors/roof/features?from=2026-05-01T00:00:00Z&to=2026-05-01T01:00:00Z";

#[test]
fn no_key_or_a_wrong_one_is_401_and_a_key_that_may_not_is_403() {
    let server = server();
    for key in ["", "wrong"] {
        let answer = Client::new(key).get(&server.url(FEATURES)).unwrap();
        problem(&answer, 401);
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
    }
    // A sensor's key never learns whether another sensor exists.
    server.operator.post_json(&server.url("/api/v1/sensors"), &json!({ "id": "other" }));
    for sensor in ["other", "never-made"] {
        let path = format!("/api/v1/sensors/{sensor}/recordings?start=2026-05-01T00:00:00Z");
        problem(&server.post(&path, &wav(1, 16_000, 1_600)), 403);
        problem(&server.sensor.get(&server.url(&format!("/api/v1/sensors/{sensor}"))).unwrap(), 403);
    }
    problem(&server.sensor.get(&server.url("/api/v1/dead-letters")).unwrap(), 403);
    problem(&server.sensor.get(&server.url("/api/v1/keys")).unwrap(), 403);
    let reader = server.operator.post_json(&server.url("/api/v1/keys"), &json!({ "role": "reader" }));
    assert_eq!(reader.status, 201, "{reader:?}");
    let reader = Client::new(reader.json()["key"].as_str().unwrap());
    assert_eq!(reader.get(&server.url(FEATURES)).unwrap().status, 200);
    problem(&reader.post_json(&server.url("/api/v1/sensors"), &json!({ "id": "mine" })), 403);
    problem(&reader.get(&server.url("/api/v1/dead-letters")).unwrap(), 403);
}

#[test]
fn unknown_things_are_404_with_the_nearest_name() {
    let server = server();
    let unknown = problem(&server.get(&FEATURES.replace("roof", "rofo")), 404);
    assert!(unknown["hint"].as_str().is_some_and(|hint| hint.contains("roof")), "{unknown}");
    let unknown = problem(&server.get("/api/v1/algorithms/levle"), 404);
    assert!(unknown["hint"].as_str().is_some_and(|hint| hint.contains("level")), "{unknown}");
    problem(&server.get("/api/v1/songs/sdsv2fpy64gpa63awucfrirvh7kp6ss4n"), 404);
    problem(&server.get("/api/v1/songs/xxx/features"), 404);
    problem(&server.get("/api/v1/recordings/ri457bomdl5b76igfdp4bsby56ntpyrhp"), 404);
    problem(&server.get("/api/v1/recordings/nonsense"), 404);
    problem(&server.get("/api/v1/nothing-here"), 404);
}

#[test]
fn times_that_are_none_are_400_naming_the_parameter() {
    let server = server();
    for (query, field) in [
        ("to=2026-05-01T01:00:00Z", "from"),
        ("from=2026-05-01T00:00:00Z", "to"),
        ("from=2026-05-01T00:00:00&to=2026-05-01T01:00:00Z", "from"),
        ("from=yesterday&to=2026-05-01T01:00:00Z", "from"),
        ("from=2026-05-01T00:00:60Z&to=2026-05-01T01:00:00Z", "from"),
        ("from=2026-05-01T00:00:00.1234567Z&to=2026-05-01T01:00:00Z", "from"),
        ("from=2026-05-01T02:00:00Z&to=2026-05-01T01:00:00Z", "from"),
        ("from=2026-05-01T01:00:00Z&to=2026-05-01T01:00:00Z", "from"),
    ] {
        for route in ["features", "gaps", "annotations"] {
            let answer = server.get(&format!("/api/v1/sensors/roof/{route}?{query}"));
            let document = problem(&answer, 400);
            let named = document["field"].as_str().unwrap_or_default();
            assert!(named == field || named == "to", "{route}?{query}: {document}");
        }
    }
    // A plus that became a space is still an offset.
    let answer = server.get(
        "/api/v1/sensors/roof/gaps?from=2026-05-01T00:00:00 02:00&to=2026-05-01T01:00:00%2B02:00"
            .replace(' ', "+")
            .as_str(),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    problem(&server.post("/api/v1/sensors/roof/recordings", &wav(1, 16_000, 1_600)), 400);
}

#[test]
fn unknown_words_are_400_with_the_nearest_one() {
    let server = server();
    for (query, near) in [
        ("features=levle", "level"),
        ("features=level.x", "level."),
        ("resolution=1n", "1m"),
        ("stat=l9o&features=level.a", "l90"),
        ("format=jsno", "json"),
        ("format=parqet", "parquet"),
        ("formt=json", "format"),
        ("versions=some", "all"),
        ("fill=gap", "gaps"),
        ("tz=Europe/Berln", "Europe/Berlin"),
    ] {
        let document = problem(&server.get(&format!("{FEATURES}&{query}")), 400);
        let text = format!("{} {}", document["hint"], document["detail"]);
        assert!(text.contains(near), "{query}: {document}");
    }
    let document = problem(&server.get(&format!("{FEATURES}&format=feather")), 400);
    assert!(document["detail"].as_str().unwrap().contains("json, csv, arrow, parquet"), "{document}");
    problem(&server.get(&format!("{FEATURES}&limit=0")), 400);
    problem(&server.get(&format!("{FEATURES}&limit=100001")), 400);
    problem(&server.get(&format!("{FEATURES}&cursor=nonsense")), 400);
    problem(&server.get("/api/v1/sensors?limit=1001"), 400);
    problem(&server.get(&format!("{FEATURES}&resolution=frame&stat=leq")), 400);
}

#[test]
fn empty_and_too_large_bodies_are_refused() {
    let server =
        server_with(&[("ANTIPHON_LIMITS__RECORDING_BYTES", "100000"), ("ANTIPHON_LIMITS__SONG_BYTES", "200000")]);
    let path = "/api/v1/sensors/roof/recordings?start=2026-05-01T00:00:00Z";
    problem(&server.post(path, b""), 400);
    let long = server.post(path, &wav(1, 16_000, 60_000));
    problem(&long, 413);
    let hint = long.json()["hint"].to_string();
    assert!(hint.contains("antiphon sensor record") && hint.contains("--start"), "{hint}");
    problem(&server.operator.send("POST", &server.url("/api/v1/songs"), &[], b"").unwrap(), 400);
    problem(&server.operator.send("POST", &server.url("/api/v1/songs"), &[], &wav(1, 16_000, 110_000)).unwrap(), 413);
    // Refused from the announced length, before the body is read: nothing of it is sent here.
    let address = server.process.url().trim_start_matches("http://").to_owned();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let key = std::fs::read_to_string(server.data.join("operator.key")).unwrap();
    std::io::Write::write_all(
        &mut stream,
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 99999999\r\n\r\n",
            key.trim()
        )
        .as_bytes(),
    )
    .unwrap();
    let mut head = [0u8; 12];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
}

#[test]
fn bytes_that_are_no_audio_are_415_and_never_stored() {
    let server = server();
    let path = "/api/v1/sensors/roof/recordings?start=2026-05-01T00:00:00Z";
    problem(&server.post(path, b"\x89PNG\r\n\x1a\n and so on"), 415);
    problem(&server.operator.send("POST", &server.url("/api/v1/songs"), &[], b"%PDF-1.7 hello").unwrap(), 415);
    let listed = server.get("/api/v1/sensors/roof/recordings?from=2026-04-01T00:00:00Z&to=2026-06-01T00:00:00Z");
    assert_eq!(listed.json()["items"], json!([]));
}

#[test]
fn starts_and_lead_ins_out_of_range_are_400() {
    let server = server();
    let audio = wav(1, 16_000, 16_000);
    for query in [
        "start=1969-12-31T23:59:59Z",
        "start=2199-01-01T00:00:00Z",
        "start=2026-05-01T00:00:00Z&lead_in=6",
        "start=2026-05-01T00:00:00Z&lead_in=-1",
        "start=2026-05-01T00:00:00Z&lead_in=NaN",
        "start=2026-05-01T00:00:00Z&lead_in=0.1234567",
        "start=2026-05-01T00:00:00Z&led_in=1",
    ] {
        problem(&server.post(&format!("/api/v1/sensors/roof/recordings?{query}"), &audio), 400);
    }
    // Longer than the audio is found later: accepted, then failed with a reason.
    let answer = server.post("/api/v1/sensors/roof/recordings?start=2026-05-01T00:00:00Z&lead_in=5", &audio);
    assert_eq!(answer.status, 202, "{answer:?}");
    let end = server.end_of(answer.json()["id"].as_str().unwrap());
    assert_eq!(end["status"], "failed");
    assert!(end["reason"].as_str().unwrap().contains("lead-in"), "{end}");
}

#[test]
fn json_recordings_have_the_same_id_and_the_same_refusals() {
    let server = server();
    let audio = wav(7, 16_000, 16_000);
    let time = rfc3339(MAY);
    let plain = server.post(&format!("/api/v1/sensors/roof/recordings?start={time}"), &audio);
    let base64 = data_encoding::BASE64.encode(&audio);
    let url = server.url("/api/v1/recordings");
    let body = json!({ "sensor_id": "roof", "timestamp": time, "audio_data": base64 });
    let answer = server.sensor.post_json(&url, &body);
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["id"], plain.json()["id"]);
    assert_eq!(answer.json()["duplicate"], true);
    assert!(answer.header("location").ends_with(answer.json()["id"].as_str().unwrap()));
    let unpadded = json!({ "sensor_id": "roof", "timestamp": time, "audio_data": base64.trim_end_matches('=') });
    assert_eq!(server.sensor.post_json(&url, &unpadded).json()["id"], plain.json()["id"]);
    for body in [
        json!({ "sensor_id": "roof", "timestamp": time }),
        json!({ "sensor_id": "roof", "timestamp": "now", "audio_data": base64 }),
        json!({ "sensor_id": "roof", "timestamp": time, "audio_data": "***" }),
        json!({ "sensor_id": "roof", "timestamp": time, "audio_data": "" }),
        json!({ "sensor_id": "roof", "timestamp": time, "audio_data": base64, "leadin": 1 }),
        json!([]),
    ] {
        problem(&server.sensor.post_json(&url, &body), 400);
    }
    problem(&server.sensor.send("POST", &url, &[("content-type", "application/json")], b"{").unwrap(), 400);
    let other = json!({ "sensor_id": "other", "timestamp": time, "audio_data": base64 });
    problem(&server.sensor.post_json(&url, &other), 403);
    problem(&server.operator.post_json(&url, &other), 404);
}

#[test]
fn audio_that_breaks_off_stays_202_fails_with_a_reason_and_keeps_what_decoded() {
    let server = server();
    let mut audio = wav(3, 16_000, 48_000);
    audio.truncate(44 + 2 * 40_000);
    let answer = server.post(&format!("/api/v1/sensors/roof/recordings?start={}", rfc3339(MAY)), &audio);
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let end = server.end_of(&id);
    assert_eq!(end["status"], "failed", "{end}");
    assert_eq!(end["partial"], true, "{end}");
    assert!(end["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{end}");
    let table =
        server.get("/api/v1/sensors/roof/features?from=2026-05-01T00:00:00Z&to=2026-05-01T00:00:10Z&resolution=1s");
    assert_eq!(table.json()["rows"].as_array().unwrap().len(), 3, "two and a half seconds decoded");
    // It lies in the dead letters, can be replayed, and fails again; then it can be dropped.
    let letter = wait_for_letter(&server, &id);
    let letter_id = letter["id"].as_str().unwrap();
    let replay = server
        .operator
        .send("POST", &server.url(&format!("/api/v1/dead-letters/{letter_id}/replay")), &[], b"")
        .unwrap();
    assert_eq!(replay.status, 202, "{replay:?}");
    let again = wait_for_letter(&server, &id);
    let path = server.url(&format!("/api/v1/dead-letters/{}", again["id"].as_str().unwrap()));
    assert_eq!(server.operator.send("DELETE", &path, &[], b"").unwrap().status, 204);
    problem(&server.operator.send("DELETE", &path, &[], b"").unwrap(), 404);
}

/// Waits until a dead letter of this recording is listed.
fn wait_for_letter(server: &Server, id: &str) -> serde_json::Value {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let listed = server.get("/api/v1/dead-letters").json();
        let found = listed["items"].as_array().unwrap().iter().find(|letter| letter.to_string().contains(id)).cloned();
        if let Some(letter) = found {
            return letter;
        }
        assert!(std::time::Instant::now() < deadline, "no dead letter of {id}: {listed}");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

#[test]
fn too_many_requests_of_one_key_are_429() {
    let server = server_with(&[("ANTIPHON_LIMITS__REQUESTS_PER_SECOND", "2")]);
    let answers: Vec<Answer> =
        (0..30).map(|_| server.sensor.get(&server.url("/api/v1/sensors/roof")).unwrap()).collect();
    let limited = answers.iter().find(|answer| answer.status == 429).expect("thirty at once are too many");
    problem(limited, 429);
    for header in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(!limited.header(header).is_empty(), "{header} is missing: {limited:?}");
    }
}

#[test]
fn guessing_keys_is_always_limited() {
    let server = server();
    let answers: Vec<u16> = (0..200)
        .map(|number| Client::new(&format!("guess-{number}")).get(&server.url("/api/v1/sensors")).unwrap().status)
        .collect();
    assert_eq!(answers[0], 401);
    assert!(answers.contains(&429), "two hundred guesses went through");
    // Who holds a key is not locked out by somebody else's guesses.
    assert_eq!(server.get("/api/v1/sensors").status, 200);
}

#[test]
fn sensors_that_cannot_be_made_say_why() {
    let server = server();
    let url = server.url("/api/v1/sensors");
    problem(&server.operator.post_json(&url, &json!({ "id": "roof" })), 409);
    for body in [
        json!({}),
        json!({ "id": "Roof" }),
        json!({ "id": "-roof" }),
        json!({ "id": "a".repeat(64) }),
        json!({ "id": "ok", "latitude": 91 }),
        json!({ "id": "ok", "longitude": "east" }),
        json!({ "id": "ok", "timezone": "Mars/Olympus" }),
        json!({ "id": "ok", "nmae": "typo" }),
    ] {
        problem(&server.operator.post_json(&url, &body), 400);
    }
    problem(&server.operator.send("POST", &url, &[("content-type", "application/json")], b"\xff{}").unwrap(), 400);
}

#[test]
fn a_recording_is_waited_for_within_bounds() {
    let server = server();
    let answer =
        server.post(&format!("/api/v1/sensors/roof/recordings?start={}", rfc3339(MAY)), &wav(1, 16_000, 16_000));
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.end_of(&id)["status"], "stored");
    for wait in ["-1", "31", "soon", "NaN"] {
        let document = problem(&server.get(&format!("/api/v1/recordings/{id}?wait={wait}")), 400);
        assert_eq!(document["field"], "wait");
    }
}
