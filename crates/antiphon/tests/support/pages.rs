//! A visitor of the pages, as a browser without scripts is one, and a server with something to look at.

use std::cell::RefCell;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use antiphon_platform::clock::{Clock, SECOND};
use serde_json::json;

use super::database::{stretch_to_a_year, wait_rolled_up};
use super::results::{blocks, minute, publish};
use super::{Answer, Antiphon, Client, MAY, PATIENCE, rfc3339, start, wav};

/// Names that must not do anything but be read.
pub const WICKED: [(&str, &str); 3] = [
    ("script", "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"),
    ("right-to-left", "\u{202e}\u{5e8}\u{5d7}\u{5d5}\u{5d1} \u{627}\u{644}\u{634}\u{627}\u{631}\u{639}"),
    ("emoji", "\u{1f426}\u{200d}\u{1f525} garden &amp; more"),
];

/// A visitor: keeps cookies, follows nothing by itself.
pub struct Visitor {
    agent: ureq::Agent,
    url: String,
    cookies: RefCell<Vec<(String, String)>>,
}

impl Visitor {
    /// A visitor of the server at `url`, without cookies.
    pub fn new(url: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        Self { agent, url: url.to_owned(), cookies: RefCell::default() }
    }

    /// Signs in with a key.
    pub fn sign_in(&self, key: &str) -> Answer {
        self.post("/sign-in", &[("key", key), ("next", "/songs")], &[])
    }

    /// GET, as a browser asks for a page.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")], b"")
    }

    /// POST of a form.
    pub fn post(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let form: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded"), ("accept", "text/html")];
        all.extend(headers);
        self.send("POST", path, &all, form.as_bytes())
    }

    /// Any request with the visitor's cookies.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let cookies: Vec<String> =
            self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = if matches!(method, "GET" | "DELETE") {
            self.agent.run(request.body(()).unwrap()).unwrap()
        } else {
            self.agent.run(request.body(body).unwrap()).unwrap()
        };
        let headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        for (_, cookie) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.borrow_mut().retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.borrow_mut().push((name.to_owned(), value.to_owned()));
            }
        }
        let mut content = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut content).unwrap();
        Answer { status: response.status().as_u16(), headers, body: content }
    }

    /// Sets a cookie, as a script would.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.borrow_mut().push((name.to_owned(), value.to_owned()));
    }

    /// The cookies as one header.
    pub fn cookies(&self) -> String {
        self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

/// An answer's body as text.
pub fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// The value of the field `token` of a page's first form that has one.
pub fn token(page: &str) -> String {
    let (_, rest) =
        page.split_once("name=\"token\" value=\"").unwrap_or_else(|| panic!("no form with a token: {page}"));
    rest.split('"').next().unwrap().to_owned()
}

/// A server with sensors, among them wicked ones, songs, and a dead letter.
pub struct Heard {
    folder: tempfile::TempDir,
    /// The running `up`.
    pub up: Antiphon,
    /// Ids of the songs: one is stored.
    pub song: String,
    /// The id of a dead letter.
    pub letter: String,
}

impl Heard {
    /// Starts a server, and waits until what it was sent is stored.
    pub fn start(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let up = start(&data, &["up", "--listen", "127.0.0.1:0"], environment);
        let client = Client::operator(&data);
        let now = Clock::system().now();
        let api = |path: &str| format!("{}/api/v1/{path}", up.url());
        let mut waits = Vec::new();
        for (number, (id, name)) in (0..).zip(WICKED) {
            let made =
                client.post_json(&api("sensors"), &json!({ "id": id, "name": name, "timezone": "Europe/Berlin" }));
            assert_eq!(made.status, 201, "{made:?}");
            // The first has heard the last two minutes, with a gap; the others a little, long ago.
            let starts: Vec<i64> = if number == 0 { (3..12).chain(14..24).collect() } else { vec![500, 501] };
            // The last has heard a second and no more.
            let (starts, samples) = if number == 2 { (vec![500], 16_000) } else { (starts, 80_000) };
            for place in starts {
                let begin = now - (place + 1) * 5 * SECOND;
                let sent = client.send(
                    "POST",
                    &format!("{}?start={}", api(&format!("sensors/{id}/recordings")), rfc3339(begin)),
                    &[],
                    &wav(place.unsigned_abs(), 16_000, samples),
                );
                waits.push(sent.unwrap().json()["id"].as_str().unwrap().to_owned());
            }
        }
        // It begins as a WAV file does, and ends there.
        let broken = [&wav(1, 16_000, 10)[..44], b"<b>".as_slice()].concat();
        let broken = client.send(
            "POST",
            &format!("{}?start={}", api("sensors/script/recordings"), rfc3339(now - 600 * SECOND)),
            &[],
            &broken[..40],
        );
        let broken = broken.unwrap().json()["id"].as_str().unwrap().to_owned();
        let song = client.send("POST", &api("songs"), &[], &wicked_song(folder.path())).unwrap();
        assert_eq!(song.status, 202, "{song:?}");
        let song = song.json()["id"].as_str().unwrap().to_owned();
        for id in &waits {
            let stored = client.get(&format!("{}?wait=30", api(&format!("recordings/{id}")))).unwrap().json();
            assert_eq!(stored["status"], "stored", "{stored}");
        }
        let stored = client.get(&format!("{}?wait=30", api(&format!("songs/{song}")))).unwrap().json();
        assert_eq!(stored["status"], "stored", "{stored}");
        let failed = client.get(&format!("{}?wait=30", api(&format!("recordings/{broken}")))).unwrap().json();
        assert_eq!(failed["status"], "failed", "{failed}");
        let letters = client.get(&api("dead-letters")).unwrap().json();
        let letter = letters["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{letters}")).to_owned();
        Self { folder, up, song, letter }
    }

    /// Lets the first sensor hear the fifteen seconds until now.
    pub fn hear_on(&self) {
        let client = Client::operator(&self.data());
        let api = format!("{}/api/v1", self.up.url());
        let begin = Clock::system().now() - 15 * SECOND;
        let path = format!("{api}/sensors/{}/recordings?start={}", WICKED[0].0, rfc3339(begin));
        let sent = client.send("POST", &path, &[], &wav(1, 16_000, 15 * 16_000)).unwrap().json();
        let id = sent["id"].as_str().unwrap();
        let stored = client.get(&format!("{api}/recordings/{id}?wait=30")).unwrap().json();
        assert_eq!(stored["status"], "stored", "{stored}");
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The operator's key.
    pub fn key(&self) -> String {
        operator_key(&self.data())
    }

    /// Every page there is, in the order in which somebody comes to them: the one to sign in first.
    pub fn pages(&self) -> Vec<String> {
        let sensors = [
            "/sensors/script",
            "/sensors/script?last=10m",
            "/sensors/script?last=1y&feature=level.bands",
            "/sensors/emoji",
        ];
        let mut pages: Vec<String> =
            ["/sign-in", "/", "/songs", "/songs?query=nothing", "/dead-letters", "/algorithms", "/algorithms/mel"]
                .into_iter()
                .chain(sensors)
                .map(str::to_owned)
                .collect();
        pages.push(format!("/songs/{}", self.song));
        pages.push(format!("/dead-letters/{}", self.letter));
        pages
    }
}

/// Twelve seconds whose tags must not do anything but be read: title, artist and album are those of [`WICKED`].
fn wicked_song(folder: &Path) -> Vec<u8> {
    let (source, tagged) = (folder.join("song.wav"), folder.join("song.flac"));
    std::fs::write(&source, wav(9, 22_050, 22_050 * 12)).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-y", "-v", "error", "-i"]).arg(&source);
    for (tag, (_, value)) in ["title", "artist", "album"].into_iter().zip(WICKED) {
        command.arg("-metadata").arg(format!("{tag}={value}"));
    }
    assert!(command.arg(&tagged).status().unwrap().success());
    std::fs::read(tagged).unwrap()
}

/// The key that `up` left in its folder.
pub fn operator_key(data: &Path) -> String {
    std::fs::read_to_string(data.join("operator.key")).unwrap().trim().to_owned()
}

/// Makes a data folder whose sensor `roof` has heard a year from [`MAY`] on: one day of sound, again and again.
pub fn a_year(data: &Path) {
    const DAY: i64 = 86_400 * SECOND;
    let up = start(data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let client = Client::operator(data);
    let api = format!("{}/api/v1/sensors", up.url());
    let sensor = json!({ "id": "roof", "name": "The roof", "plan": [{ "algorithm": "level" }] });
    assert_eq!(client.post_json(&api, &sensor).status, 201);
    let template = blocks(&["level"], 16_000, MAY, &wav(8, 16_000, 16_000 * 60));
    publish(data, (0..24 * 60).map(|number| minute("roof", number, &template)).collect());
    let range = format!("from={}&to={}", rfc3339(MAY), rfc3339(MAY + DAY));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = client.get(&format!("{api}/roof/features?{range}&features=level.a&resolution=1h")).unwrap().json();
        let rows = page["rows"].as_array().unwrap();
        if rows.len() == 24 && rows.iter().all(|row| row[1] == 1.0) {
            break;
        }
        assert!(Instant::now() < deadline, "a day is not stored: {rows:?}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    wait_rolled_up(data, 0);
    assert!(up.stop().success());
    stretch_to_a_year(data, DAY, 0);
}
