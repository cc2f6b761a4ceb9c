//! The pages as a browser without scripts gets them: whole, safe, small, and to those who may see them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use antiphon_platform::clock::{Clock, SECOND};
use serde_json::{Value, json};
use support::pages::{Heard, Visitor, WICKED, operator_key, text, token};
use support::{Client, PATIENCE, rfc3339, start, wav};

/// What a page may weigh with its styles and scripts, in bytes, without pictures of sound.
const LIGHT: usize = 150_000;

#[test]
fn every_page_is_whole_safe_and_light() {
    let heard = Heard::start(&[]);
    let visitor = Visitor::new(heard.up.url());
    assert_eq!(visitor.sign_in(&heard.key()).status, 303);
    let mut sizes = Vec::new();
    for path in heard.pages() {
        let answer = visitor.get(&path);
        let page = text(&answer);
        assert_eq!(answer.status, 200, "{path}: {page}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("cache-control").contains("private"), "{path}");
        // Nothing inline, which the policy would refuse, and nothing from elsewhere.
        for refused in [" style=", " onclick=", " onload=", "<style", "javascript:", "http://", "https://"] {
            assert!(!page.contains(refused), "{path} has {refused}");
        }
        assert!(
            page.matches("<script").count() == page.matches("<script type=\"module\" src=\"/assets/").count(),
            "{path}"
        );
        assert_eq!(page.matches("<h1").count(), 1, "{path}");
        assert!(page.contains("<html lang=\"en\"") && page.contains("<main"), "{path}");
        // Its styles and scripts, those that these import included.
        let mut weight = page.len();
        let mut wanted: Vec<String> =
            page.split('"').filter(|part| part.starts_with("/assets/")).map(str::to_owned).collect();
        let mut seen: Vec<String> = Vec::new();
        while let Some(asset) = wanted.pop() {
            if seen.contains(&asset) {
                continue;
            }
            let answer = visitor.get(&asset);
            assert_eq!(answer.status, 200, "{asset}");
            assert!(answer.header("cache-control").contains("immutable"));
            weight += answer.body.len();
            let content = text(&answer);
            let folder = asset.rsplit_once('/').unwrap().0;
            wanted.extend(
                content.split("from \"./").skip(1).map(|rest| format!("{folder}/{}", rest.split('"').next().unwrap())),
            );
            seen.push(asset);
        }
        assert!(weight < LIGHT, "{path} weighs {weight} bytes");
        sizes.push((weight, path));
    }
    println!("{} pages; the heaviest, with styles and scripts: {:?}", sizes.len(), sizes.iter().max().unwrap());
}

/// A text as it stands in a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[test]
fn pages_say_the_facts_without_scripts_and_names_do_nothing() {
    let heard = Heard::start(&[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let visitor = Visitor::new(heard.up.url());
    let now = text(&visitor.get("/"));
    for (id, name) in WICKED {
        assert!(now.contains(&format!("<bdi>{}</bdi>", escaped(name))), "{id}: {now}");
        assert!(now.contains(&format!("href=\"/sensors/{id}\"")));
    }
    assert!(!now.contains("<script>alert") && !now.contains("<img src=x"));
    assert!(
        now.contains(">Live<") && now.contains("dBFS") && now.contains(">Late<") && now.contains("Waiting"),
        "{now}"
    );

    let sensor = text(&visitor.get("/sensors/script?last=10m"));
    assert!(
        sensor.contains("class=\"chart\"") && sensor.contains("class=\"curve\"") && sensor.contains("class=\"gap\"")
    );
    assert!(sensor.contains("Most <strong>") && sensor.contains("Newest recordings") && sensor.contains("format=csv"));
    assert!(sensor.contains("UTC</time>"), "times say their zone");
    // Days are the sensor's own, for who draws them and for who downloads them; what its plan lacks is no choice.
    assert!(sensor.contains("&amp;tz=Europe%2FBerlin&amp;features=level.a"), "{sensor}");
    assert!(sensor.contains("value=\"lden\"") && !sensor.contains("value=\"pitch.f0\""), "{sensor}");
    let days = text(&visitor.get("/sensors/script?from=2026-05-01T10:00:00Z&to=2026-05-02T10:00:00Z&stat=lden"));
    assert!(
        days.contains("data-from=\"2026-04-30T22:00:00.000000Z\"")
            && days.contains("data-to=\"2026-05-02T22:00:00.000000Z\""),
        "{days}"
    );
    assert!(days.contains("Of no day of this range was enough heard"), "{days}");
    // Where the reader's zone is known, times and fields are of it.
    visitor.set_cookie("antiphon-zone", "Asia%2FKolkata");
    let local = text(&visitor.get("/sensors/script?from=2026-05-01T05:30&to=2026-05-01T06:30"));
    assert!(
        local.contains("value=\"2026-05-01T05:30:00\"") && local.contains("data-from=\"2026-05-01T00:00:00.000000Z\"")
    );
    assert!(local.contains("Nothing was heard in this range"), "{local}");

    let picture = visitor.get("/sensors/script/picture.png?last=10m&feature=level.bands");
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/png"));
    assert!(picture.body.starts_with(b"\x89PNG"));
    assert_eq!(visitor.get("/sensors/emoji/picture.png?last=1h&feature=level.bands").status, 200);
    assert_eq!(visitor.get("/sensors/script/picture.png?last=1y&feature=mel.preview").status, 400);

    let songs = text(&visitor.get("/songs"));
    assert!(songs.contains(&format!("/songs/{}", heard.song)) && songs.contains("0:12"), "{songs}");
    assert!(songs.contains("BPM") && songs.contains("LUFS") && songs.contains("any key"), "{songs}");
    let none = text(&visitor.get("/songs?from=990&key=F%23+minor"));
    assert!(none.contains("No song is like that") && !none.contains(&heard.song), "{none}");
    assert_eq!(visitor.get("/songs?from=fast").status, 400);
    let song = text(&visitor.get(&format!("/songs/{}", heard.song)));
    for (place, page) in [("songs", &songs), ("song", &song)] {
        for (_, tag) in WICKED {
            // Characters that steer the direction of words are left out of tags.
            let tag = tag.trim_start_matches('\u{202e}');
            assert!(page.contains(&format!("<bdi>{}</bdi>", escaped(tag))), "{place}: {tag}: {page}");
        }
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{place}");
    }
    for fact in ["<audio", "Waveform", "Spectrogram", "onset", "Loudness", "Tempo", "class=\"curve\""] {
        assert!(song.contains(fact), "{fact}: {song}");
    }
    let picture = visitor.get(&format!("/songs/{}/picture.png", heard.song));
    assert!(picture.status == 200 && picture.body.starts_with(b"\x89PNG"));
    let algorithm = text(&visitor.get("/algorithms/level"));
    assert!(
        algorithm.contains("IEC 61672")
            && algorithm.contains("/algorithms/level/picture.svg")
            && algorithm.contains("Cost")
    );
    let svg = visitor.get("/algorithms/level/picture.svg");
    assert_eq!((svg.status, svg.header("content-type")), (200, "image/svg+xml"));
}

#[test]
fn what_is_not_there_is_told_on_a_page_to_people_and_as_a_problem_to_programs() {
    let heard = Heard::start(&[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let visitor = Visitor::new(heard.up.url());
    for path in ["/sensors/scrip", "/songs/nothing", "/algorithms/levl", "/nothing/here", "/sensors/script/nothing"] {
        let answer = visitor.get(path);
        let page = text(&answer);
        assert_eq!((answer.status, answer.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
        assert!(page.contains("There is no such page") && page.contains("<nav"), "{path}: {page}");
    }
    assert!(text(&visitor.get("/sensors/scrip")).contains("script"), "the nearest name is told");
    let song = text(&visitor.get("/songs/nothing"));
    assert!(song.contains("class=\"button\" href=\"/songs\"") && !song.contains("/api/v1"), "{song}");
    for path in ["/nothing/here", "/api/v1/nothing"] {
        let answer = visitor.send("GET", path, &[("accept", "*/*")], b"");
        assert!(answer.status == 404 && answer.header("content-type").contains("problem+json"), "{path}: {answer:?}");
    }
    for path in [
        "/sensors/script?from=yesterday&to=today",
        "/sensors/script?last=forever",
        "/sensors/script?from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z",
        "/sensors/script?stat=l200",
        "/songs?cursor=nonsense",
        "/?cursor=nonsense",
    ] {
        let answer = visitor.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (400, "text/html; charset=utf-8"), "{path}");
    }
    assert_eq!(visitor.get("/sensors/script?feature=nothing").status, 404);
    // A year, the future, the past: ranges that there are, if only as gaps.
    for path in [
        "last=1y",
        "from=2036-01-01T00:00:00Z&to=2036-01-02T00:00:00Z",
        "from=1970-01-02T00:00:00Z&to=1971-01-01T00:00:00Z",
    ] {
        assert_eq!(visitor.get(&format!("/sensors/script?{path}")).status, 200, "{path}");
    }
}

#[test]
fn only_those_with_a_key_see_pages_and_only_forms_of_ours_do_anything() {
    let heard = Heard::start(&[]);
    let (url, key) = (heard.up.url(), heard.key());
    let visitor = Visitor::new(url);
    for path in heard.pages().iter().filter(|path| *path != "/sign-in") {
        let answer = visitor.get(path);
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.header("location").starts_with("/sign-in?next=%2F"), "{path}: {}", answer.header("location"));
    }
    assert_eq!(visitor.get("/live").status, 303);
    // A wrong key, a sensor's key, another site's form.
    for (wrong, words) in [("nonsense", "does not know"), ("", "Type or paste"), ("a\u{1}b", "is no key")] {
        let answer = visitor.sign_in(wrong);
        assert!(answer.status == 401 && text(&answer).contains(words), "{wrong}: {answer:?}");
    }
    let client = Client::operator(&heard.data());
    let sensor = client.post_json(&format!("{url}/api/v1/sensors/emoji/keys"), &json!({})).json();
    assert!(text(&visitor.sign_in(sensor["key"].as_str().unwrap())).contains("sensor's key"));
    let foreign = visitor.post("/sign-in", &[("key", &key)], &[("sec-fetch-site", "cross-site")]);
    assert_eq!(foreign.status, 403);
    let elsewhere = visitor.post("/sign-in", &[("key", &key), ("next", "//evil.example/")], &[]);
    assert_eq!((elsewhere.status, elsewhere.header("location")), (303, "/"));
    let cookie = elsewhere.header("set-cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; Max-Age=") && !cookie.contains(&key), "{cookie}");

    // The cookie reads data, and changes none.
    let sensors = visitor.send("GET", "/api/v1/sensors", &[], b"");
    assert_eq!((sensors.status, sensors.json()["items"].as_array().unwrap().len()), (200, 3));
    assert_eq!(visitor.send("GET", "/api/v1/sensors", &[("sec-fetch-site", "cross-site")], b"").status, 401);
    assert_eq!(visitor.send("DELETE", "/api/v1/sensors/emoji", &[], b"").status, 401);
    assert_eq!(visitor.send("POST", "/api/v1/sensors", &[], b"{\"id\":\"x\"}").status, 401);

    // Letters have the names of what they are about.
    let letters = text(&visitor.get("/dead-letters"));
    assert!(letters.contains(&format!("href=\"/sensors/script\"><bdi>{}</bdi>", escaped(WICKED[0].1))), "{letters}");

    // A form does what it says once it carries this visitor's token.
    let path = format!("/dead-letters/{}", heard.letter);
    let page = text(&visitor.get(&path));
    assert!(page.contains("52 49 46 46") || page.contains("RIFF"), "{page}");
    let sound = visitor.get(&format!("/api/v1{path}/audio"));
    assert_eq!((sound.status, sound.header("content-type")), (200, "audio/wav"), "{sound:?}");
    assert!(page.contains(&format!("<audio controls preload=\"none\" src=\"/api/v1{path}/audio\"")));
    assert_eq!(visitor.post(&path, &[("do", "drop")], &[]).status, 403);
    assert_eq!(visitor.post(&path, &[("do", "drop"), ("token", "x")], &[]).status, 403);
    let other = Visitor::new(url);
    assert_eq!(other.sign_in(&key).status, 303);
    assert_eq!(
        other.post(&path, &[("do", "drop"), ("token", &token(&page))], &[]).status,
        403,
        "another sign-in's token"
    );
    assert_eq!(visitor.post(&path, &[("do", "burn"), ("token", &token(&page))], &[]).status, 400);
    let replayed = visitor.post(&path, &[("do", "replay"), ("token", &token(&page))], &[]);
    assert_eq!((replayed.status, replayed.header("location")), (303, "/dead-letters?done=replay"));
    // It fails again, and is there again.
    let again = wait_for_letter(&client, url);
    let path = format!("/dead-letters/{again}");
    let dropped = visitor.post(&path, &[("do", "drop"), ("token", &token(&page))], &[]);
    assert_eq!((dropped.status, dropped.header("location")), (303, "/dead-letters?done=drop"));
    assert_eq!(visitor.get(&path).status, 404);

    // A reader may not see dead letters, and is told so; signing out ends it.
    let reader = client.post_json(&format!("{url}/api/v1/keys"), &json!({ "role": "reader" })).json();
    let reading = Visitor::new(url);
    reading.sign_in(reader["key"].as_str().unwrap());
    let page = text(&reading.get("/"));
    assert!(page.contains("Reader") && !page.contains("href=\"/dead-letters\""));
    assert_eq!(reading.get("/dead-letters").status, 403);
    assert_eq!(reading.post("/sign-out", &[("token", &token(&page))], &[]).status, 303);
    assert_eq!(reading.get("/").status, 303);
}

fn wait_for_letter(client: &Client, url: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let letters = client.get(&format!("{url}/api/v1/dead-letters")).unwrap().json();
        if let Some(id) = letters["items"][0]["id"].as_str() {
            return id.to_owned();
        }
        assert!(Instant::now() < deadline, "it did not come back");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_song_that_breaks_off_shows_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let client = Client::operator(&data);
    let api = format!("{}/api/v1", up.url());
    let whole = wav(9, 22_050, 22_050 * 12);
    let sent = client.send("POST", &format!("{api}/songs"), &[], &whole[..44 + 22_050 * 2 * 7]).unwrap().json();
    let id = sent["id"].as_str().unwrap();
    let failed = client.get(&format!("{api}/songs/{id}?wait=30")).unwrap().json();
    assert_eq!(failed["status"], "failed", "{failed}");
    wait_for_letter(&client, up.url());
    let visitor = Visitor::new(up.url());
    assert_eq!(visitor.sign_in(&operator_key(&data)).status, 303);
    let path = format!("/songs/{id}");
    let page = text(&visitor.get(&path));
    for fact in ["Only its beginning", "after 7.0 s.", "can be tried again", "Waveform", "Loudness", "class=\"curve\""]
    {
        assert!(page.contains(fact), "{fact}: {page}");
    }
    assert!(visitor.get(&format!("{path}/picture.png")).body.starts_with(b"\x89PNG"));
    let letters = text(&visitor.get("/dead-letters"));
    assert!(letters.contains("309 kB") && letters.contains(&format!("href=\"{path}\"")), "{letters}");
    let letter = client.get(&format!("{api}/dead-letters")).unwrap().json()["items"][0]["id"].clone();
    let letter = format!("/dead-letters/{}", letter.as_str().unwrap());
    let token = token(&text(&visitor.get(&letter)));
    assert_eq!(visitor.post(&letter, &[("do", "drop"), ("token", &token)], &[]).status, 303);
    let page = text(&visitor.get(&path));
    assert!(page.contains("Only its beginning") && !page.contains("tried again"), "{page}");
}

#[test]
fn what_is_chosen_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let visitor = Visitor::new(up.url());
    let page = text(&visitor.get("/"));
    assert!(
        page.contains("data-theme=\"system\"") && page.contains("antiphon sensor add roof"),
        "an empty server says what to do"
    );
    assert!(text(&visitor.get("/songs")).contains("antiphon ingest music/"));
    let chosen = visitor.post("/choices", &[("theme", "dark"), ("next", "/songs")], &[]);
    assert_eq!((chosen.status, chosen.header("location")), (303, "/songs"));
    assert!(text(&visitor.get("/")).contains("data-theme=\"dark\""));
    visitor.set_cookie("antiphon-zone", "Europe%2FBerlin");
    assert!(text(&visitor.get("/")).contains("data-zone=\"Europe/Berlin\""));
    visitor.post("/choices", &[("times", "utc")], &[]);
    assert!(text(&visitor.get("/")).contains("data-zone=\"UTC\""));
    assert_eq!(visitor.post("/choices", &[("theme", "<script>")], &[]).status, 400);
    // A restart signs nobody out.
    assert_eq!(visitor.sign_in(&operator_key(&data)).status, 303);
    let cookies = visitor.cookies();
    assert!(up.stop().success());
    let again = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let answer = Visitor::new(again.url()).send("GET", "/", &[("cookie", &cookies)], b"");
    assert_eq!(answer.status, 200);
    assert!(text(&answer).contains("Operator"));
}

#[test]
fn pages_of_a_role_of_its_own_are_the_same_and_say_when_the_api_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut api = start(&data, &["run", "api", "analyze", "write", "--listen", "127.0.0.1:0"], &[]);
    let address = api.url().to_owned();
    let elsewhere = folder.path().join("elsewhere");
    let web =
        start(&elsewhere, &["run", "web", "--strict", "--listen", "127.0.0.1:0"], &[("ANTIPHON_WEB__API", &address)]);
    assert!(!elsewhere.exists(), "it keeps nothing here");
    let visitor = Visitor::new(web.url());
    assert_eq!(visitor.get("/").status, 303);
    let key = operator_key(&data);
    assert_eq!(visitor.sign_in(&key).status, 303);
    // What is the API's is passed on, for people and for programs.
    let client = Client::new(&key);
    let made = client.post_json(&format!("{}/api/v1/sensors", web.url()), &json!({ "id": "roof", "name": "The roof" }));
    assert_eq!(made.status, 201, "{made:?}");
    let begin = rfc3339(Clock::system().now() - 5 * SECOND);
    let sent = client.send(
        "POST",
        &format!("{}/api/v1/sensors/roof/recordings?start={begin}", web.url()),
        &[],
        &wav(1, 16_000, 16_000),
    );
    assert_eq!(sent.unwrap().status, 202);
    assert_eq!(visitor.get("/docs").status, 200);
    let page = text(&visitor.get("/"));
    assert!(page.contains("The roof"), "{page}");
    assert_eq!(visitor.get("/sensors/roof").status, 200);
    assert_eq!(client.get(&format!("{}/readyz", web.url())).unwrap().status, 200);
    api.kill();
    let answer = visitor.get("/");
    let page = text(&answer);
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{page}");
    assert!(page.contains("does not answer now") && page.contains("http-equiv=\"refresh\" content=\"5\""), "{page}");
    assert_eq!(client.get(&format!("{}/api/v1/sensors", web.url())).unwrap().status, 502);
    // An address that leads back is told, not followed for ever.
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let looping = start(
        &folder.path().join("loop"),
        &["run", "web", "--listen", &own.to_string()],
        &[("ANTIPHON_WEB__API", &format!("http://{own}"))],
    );
    let answer = client.get(&format!("{}/api/v1/sensors", looping.url())).unwrap();
    assert_eq!(answer.status, 508, "{answer:?}");
}

#[test]
fn what_a_sensor_hears_is_in_the_stream_of_the_page_within_two_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let client = Client::operator(&data);
    let api = format!("{}/api/v1/sensors", up.url());
    assert_eq!(client.post_json(&api, &json!({ "id": "roof" })).status, 201);
    let address = up.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /live?sensor=roof&sensor=gone HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut next = |name: &str| -> Value {
        let begins = format!("event: {name}");
        lines.find(|line| *line == begins).unwrap_or_else(|| panic!("no event {name}"));
        let data = lines.next().unwrap();
        serde_json::from_str(data.trim_start_matches("data: ")).unwrap()
    };
    assert!(next("pipeline")["waiting"].is_number());
    assert_eq!(next("health")["sensors"][0]["status"], "never");
    let mut slowest = Duration::ZERO;
    for number in 0..3 {
        let begin = Clock::system().now().div_euclid(SECOND) * SECOND - (10 - number) * SECOND;
        let sent = Instant::now();
        let answer = client.send(
            "POST",
            &format!("{api}/roof/recordings?start={}", rfc3339(begin)),
            &[],
            &wav(3, 16_000, 16_000),
        );
        assert_eq!(answer.unwrap().status, 202);
        let second = next("second");
        slowest = slowest.max(sent.elapsed());
        assert_eq!((&second["sensor"], &second["time"]), (&json!("roof"), &json!(rfc3339(begin))), "{second}");
        assert!(second["level"].as_f64().unwrap() < 0.0 && second["coverage"] == 1.0, "{second}");
        // The first tenth of a first second reaches into what is not there.
        assert!(second["mask"].as_u64().unwrap().count_ones() >= 8, "{second}");
        assert_eq!(second["rows"].as_str().unwrap().len(), 856);
    }
    println!("from sending a second to its event: {} ms at most", slowest.as_millis());
    assert!(slowest < Duration::from_secs(2));
    let health = next("health");
    assert_eq!(health["sensors"][0]["id"], "roof", "{health}");
    let many: String = (0..7).map(|number| format!("sensor=s{number}&")).collect();
    assert_eq!(Visitor::new(up.url()).get(&format!("/live?{many}")).status, 400);
}
