//! Tables to take home: what Arrow, Parquet and CSV say to pyarrow, pandas, polars and DuckDB, and what a year of them
//! costs the server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use antiphon_servers::notebook_folder;
use serde_json::{Value, json};
use support::database::{YEAR, execute, stretch_to_a_year, wait_rolled_up};
use support::results::{minute, publish};
use support::traffic::{Sent, recordings, send, wait_stored};
use support::{Antiphon, Client, MAY, Numbers, PATIENCE, command, results, rfc3339, start, wav};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;

/// Formats of whole tables: name, media type, ending of file names.
const TABLES: [(&str, &str, &str); 3] = [
    ("csv", "text/csv; charset=utf-8; header=present", "csv"),
    ("arrow", "application/vnd.apache.arrow.stream", "arrows"),
    ("parquet", "application/vnd.apache.parquet", "parquet"),
];

fn python() -> PathBuf {
    let python = notebook_folder().join("bin/python");
    assert!(python.is_file(), "{} is not there: run `cargo xtask servers` once", python.display());
    python
}

/// Runs a script of `tests/tables` on a folder; what it prints.
fn run(script: &str, folder: &Path) -> Value {
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tables")).join(script);
    let output = Command::new(python()).arg("-B").arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A running `up` with what was sent to it.
struct Server {
    folder: tempfile::TempDir,
    up: Antiphon,
    client: Client,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
        let client = Client::operator(&data);
        Self { folder, up, client }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn add_sensor(&self, sensor: &Value) {
        let made = self.client.post_json(&format!("{}/api/v1/sensors", self.up.url()), sensor);
        assert_eq!(made.status, 201, "{}", made.json());
    }

    fn get(&self, path: &str) -> support::Answer {
        self.client.get(&format!("{}/api/v1/{path}", self.up.url())).unwrap()
    }
}

/// Waits until a sensor's revision shows that so many seconds from `MAY + from` on are stored.
fn wait_heard(server: &Server, sensor: &str, from: i64, seconds: usize) {
    let deadline = std::time::Instant::now() + PATIENCE;
    let range = format!("from={}&to={}", rfc3339(MAY + from), rfc3339(MAY + from + seconds as i64 * SECOND));
    let path = format!("sensors/{sensor}/features?{range}&resolution=1s&limit=100000");
    loop {
        let rows = server.get(&path).json()["rows"].as_array().unwrap().len();
        if rows == seconds {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{rows} of {seconds} seconds of {sensor}");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

/// Random recordings with gaps and overlaps over 20 minutes; then ten minutes of a newer version of the algorithms, then
/// frames; and two songs.
fn fill(server: &Server) -> Vec<String> {
    let frames = json!([{"algorithm": "level", "frames": true}, {"algorithm": "mel"}, {"algorithm": "loudness"}]);
    server.add_sensor(&json!({"id": "roof", "plan": "default,mel", "timezone": "Europe/Vienna"}));
    server.add_sensor(&json!({"id": "river-2"}));
    server.add_sensor(&json!({"id": "yard", "plan": frames}));
    let url = server.up.url();
    let mut sent: Vec<Sent> = recordings(3, 150);
    sent.retain(|sent| sent.body.starts_with(b"RIFF") && sent.sensor.is_some());
    for seed in 0..2 {
        let samples = 22_050 * 7 * (1 + seed as usize * 9) + 1_234;
        sent.push(Sent { sensor: None, start: 0, lead_in: 0.0, body: Arc::new(wav(seed, 22_050, samples)) });
    }
    let ids: Vec<String> = sent.iter().map(|sent| send(&server.client, url, sent).unwrap()).collect();
    for id in &ids {
        wait_stored(&server.client, url, id);
    }
    let mut newer = results::blocks(&["level", "loudness"], 16_000, MAY, &wav(8, 16_000, 16_000 * 60));
    newer.iter_mut().for_each(|block| block.version += 1);
    publish(&server.data(), (25..30).map(|number| minute("roof", number, &newer)).collect());
    wait_heard(server, "roof", 25 * MINUTE, 300);
    ids.into_iter().filter(|id| id.starts_with('s')).collect()
}

fn one_of<'a>(numbers: &mut Numbers, choices: &[&'a str]) -> &'a str {
    choices[numbers.below(choices.len() as u64) as usize]
}

/// A random query of the stored: path and parameters, without a format. Some are refused; in every format alike.
fn query(numbers: &mut Numbers, songs: &[String]) -> String {
    let is_song = numbers.below(4) == 0;
    let mut query = if is_song {
        let song = &songs[numbers.below(songs.len() as u64) as usize];
        let from = numbers.below(8_000) as f64 / 1_000.0;
        match numbers.below(3) {
            0 => format!("songs/{song}/features?"),
            1 => format!("songs/{song}/features?from={from}"),
            _ => format!("songs/{song}/features?from={from}&to={}", from + 0.001 + numbers.below(90_000) as f64 / 1e3),
        }
    } else {
        // To the microsecond, or on whole minutes; some before and after all that was heard.
        let unit = if numbers.below(3) == 0 { MINUTE } else { 1 };
        let from = MAY - 2 * MINUTE + numbers.below((34 * MINUTE / unit) as u64) as i64 * unit;
        let length = (1 + numbers.below((10 * MINUTE / unit) as u64) as i64) * unit;
        let sensor = one_of(numbers, &["roof", "roof", "river-2", "yard"]);
        format!("sensors/{sensor}/features?from={}&to={}", rfc3339(from), rfc3339(from + length))
    };
    let features = ["", "level", "level.a,loudness", "level.bands", "mel", "default", "level.c,mel,loudness"];
    let optional = [
        ("features", one_of(numbers, &features)),
        ("resolution", one_of(numbers, &["", "1s", "1s", "10s", "1m", "10m", "1h", "1d", "frame"])),
        ("stat", one_of(numbers, &["", "", "leq,l90", "min,max", "mean,stddev", "leq,l01,l99,max"])),
        ("fill", one_of(numbers, &["", "", "gaps"])),
        ("versions", one_of(numbers, &["", "", "all"])),
        ("tz", if is_song { "" } else { one_of(numbers, &["", "", "Asia/Kathmandu"]) }),
    ];
    for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
        query.push_str(&format!("&{name}={value}"));
    }
    query
}

#[test]
fn every_reader_finds_the_values_of_json() {
    let server = Server::start();
    let songs = fill(&server);
    let folder = server.folder.path().join("cases");
    std::fs::create_dir(&folder).unwrap();
    let mut numbers = Numbers(11);
    // What each kind of query must be among the cases, and then whatever comes.
    let roof = format!("sensors/roof/features?from={}&to={}", rfc3339(MAY), rfc3339(MAY + 31 * MINUTE));
    let yard = format!("sensors/yard/features?from={}&to={}", rfc3339(MAY), rfc3339(MAY + 20 * MINUTE));
    let mut queries = vec![
        format!("{roof}&features=level&resolution=1s"),
        format!("{roof}&features=level,loudness&stat=leq,l50&resolution=1m&versions=all"),
        format!("{roof}&features=mel,level.bands&resolution=10s&stat=mean,stddev,leq&fill=gaps"),
        format!("{yard}&features=level&resolution=frame"),
        format!("sensors/roof/features?from={}&to={}", rfc3339(MAY - DAY), rfc3339(MAY - DAY + 1)),
        format!("songs/{}/features?features=music", songs[0]),
        format!("songs/{}/features?features=mel,level.a&from=0.5&to=7.000001&resolution=1s", songs[0]),
        format!("songs/{}/features?from=1000&to=1001&fill=gaps", songs[1]),
    ];
    queries.extend((0..60).map(|_| query(&mut numbers, &songs)));
    let mut refused = 0;
    for (number, query) in queries.iter().enumerate() {
        let json = server.get(&format!("{query}&limit=100000"));
        let name = |ending: &str| folder.join(format!("{number:03}.{ending}"));
        for (format, media_type, _) in TABLES {
            let table = server.get(&format!("{query}&format={format}"));
            assert_eq!(table.status, json.status, "{query}&format={format}");
            if json.status == 200 {
                assert_eq!(table.header("content-type"), media_type);
                std::fs::write(name(format), &table.body).unwrap();
            } else {
                assert_eq!(table.json(), json.json(), "{query}&format={format}");
            }
        }
        if json.status == 200 {
            std::fs::write(name("query"), query).unwrap();
            std::fs::write(name("json"), &json.body).unwrap();
        } else {
            refused += 1;
        }
    }
    let compared = run("read.py", &folder);
    println!("{} queries, {refused} refused; {compared}", queries.len());
    assert_eq!(compared["cases"].as_u64(), Some((queries.len() - refused) as u64));
    for (what, least) in
        [("cases", 40), ("rows", 3_000), ("values", 100_000), ("nulls", 1_000), ("gaps", 100), ("empty", 3)]
            .into_iter()
            .chain([("songs", 8), ("versions", 2), ("vectors", 8), ("frames", 1)])
    {
        assert!(compared[what].as_u64() >= Some(least), "too few {what}: {compared}");
    }
}

#[test]
fn tables_are_asked_for_by_name_or_media_type_and_have_names_as_files() {
    let server = Server::start();
    server.add_sensor(&json!({"id": "roof"}));
    let sound = Sent { sensor: Some("roof"), start: MAY, lead_in: 0.0, body: Arc::new(wav(1, 16_000, 48_000)) };
    let id = send(&server.client, server.up.url(), &sound).unwrap();
    wait_stored(&server.client, server.up.url(), &id);
    let range = format!("from={}&to={}", rfc3339(MAY), rfc3339(MAY + 10 * SECOND));
    for route in ["features", "annotations"] {
        let path = format!("sensors/roof/{route}?{range}");
        let mut tags = vec![server.get(&path).header("etag").to_owned()];
        for (format, media_type, ending) in TABLES {
            let asked = server.get(&format!("{path}&format={format}"));
            let url = format!("{}/api/v1/{path}", server.up.url());
            let accept = media_type.split(';').next().unwrap();
            let liked = server.client.send("GET", &url, &[("accept", accept)], b"").unwrap();
            assert_eq!((liked.status, &liked.body), (200, &asked.body), "{path} as {format}");
            let file = if route == "features" { "roof" } else { "roof-annotations" };
            for answer in [&asked, &liked] {
                assert_eq!(answer.header("content-type"), media_type);
                let disposition = format!("attachment; filename=\"{file}.{ending}\"");
                assert_eq!(answer.header("content-disposition"), disposition);
            }
            let same =
                server.client.send("GET", &url, &[("accept", accept), ("if-none-match", asked.header("etag"))], b"");
            assert_eq!(same.unwrap().status, 304);
            // Rows of text go well through gzip; columns of Parquet are compressed already.
            let squeezed = server.client.send("GET", &url, &[("accept", accept), ("accept-encoding", "gzip")], b"");
            assert!(squeezed.unwrap().header("content-encoding") != "gzip" || format != "parquet");
            tags.push(asked.header("etag").to_owned());
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 4, "every format has a tag of its own: {tags:?}");
    }
}

#[test]
fn commands_write_the_tables_of_the_server() {
    let server = Server::start();
    let folder = server.folder.path().join("files");
    std::fs::create_dir(&folder).unwrap();
    let (first, second) = (folder.join("a, \"b\".wav"), folder.join("c.wav"));
    std::fs::write(&first, wav(3, 44_100, 44_100 * 7 + 1_234)).unwrap();
    std::fs::write(&second, wav(4, 16_000, 16_000 * 3)).unwrap();
    let run_command = |arguments: &[&str]| command(&server.data(), arguments, &[]).output().unwrap();
    let ingested = run_command(&["ingest", first.to_str().unwrap(), "--json"]);
    let line: Value = serde_json::from_slice(&ingested.stdout).unwrap();
    let song = line["id"].as_str().unwrap();
    let selection = ["--features", "level,loudness,mel", "--stat", "leq,l10,mean", "--resolution", "1s"];
    let files = [first.to_str().unwrap(), second.to_str().unwrap()];
    for (format, _, _) in TABLES {
        let out = folder.join(format!("song.{format}"));
        let arguments = ["features", &format!("song:{song}"), "--format", format, "--out", out.to_str().unwrap()];
        let asked = run_command(&[&arguments, &selection[..]].concat());
        assert_eq!(asked.status.code(), Some(0), "{}", String::from_utf8_lossy(&asked.stderr));
        let path = format!("songs/{song}/features?features=level,loudness,mel&stat=leq,l10,mean&resolution=1s");
        let answer = server.get(&format!("{path}&format={format}"));
        assert_eq!(std::fs::read(&out).unwrap(), answer.body, "{format}");
        // Without --out the same goes to a pipe.
        let piped = run_command(&[&arguments[..4], &selection[..]].concat());
        assert_eq!(piped.stdout, answer.body, "{format}");

        for (name, width) in [("seconds", "1s"), ("whole", "whole")] {
            let out = folder.join(format!("{name}.{format}"));
            let arguments = ["--resolution", width, "--format", format, "--out", out.to_str().unwrap()];
            let local = run_command(&[&["analyze"], &files[..], &selection[..4], &arguments[..]].concat());
            assert_eq!(local.status.code(), Some(0), "{}", String::from_utf8_lossy(&local.stderr));
        }
    }
    for (name, width) in [("seconds", "1s"), ("whole", "whole")] {
        let arguments = ["--resolution", width, "--format", "json"];
        let local = run_command(&[&["analyze"], &files[..], &selection[..4], &arguments[..]].concat());
        std::fs::write(folder.join(format!("{name}.jsonl")), local.stdout).unwrap();
    }
    let compared = run("read_local.py", &folder);
    assert_eq!((&compared["rows"], &compared["files"]), (&json!(8 + 3 + 2), &json!(4)), "{compared}");
    assert!(compared["values"].as_u64().unwrap() > 500, "{compared}");
    let left: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
}

#[test]
fn a_table_that_breaks_off_leaves_no_file() {
    let server = Server::start();
    let out = server.folder.path().join("kept.parquet");
    std::fs::write(&out, "what was there").unwrap();
    let arguments = ["features", "sensor:none", "--from", "2026-05-01T00:00:00Z", "--to", "2026-05-02T00:00:00Z"];
    let more = ["--format", "parquet", "--out", out.to_str().unwrap()];
    let refused = command(&server.data(), &[&arguments[..], &more].concat(), &[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(std::fs::read(&out).unwrap(), b"what was there", "a refusal touches nothing");
    // Cut in the middle: a stored minute is damaged, far behind what is made before the first byte is sent.
    server.add_sensor(&json!({"id": "roof"}));
    let template = results::blocks(&["level"], 16_000, MAY, &wav(8, 16_000, 16_000 * 60));
    publish(&server.data(), (0..70).map(|number| minute("roof", number, &template)).collect());
    wait_heard(&server, "roof", 0, 70 * 60);
    let damage = format!("update blocks set data = x'00' where minute = {}", MAY / MINUTE + 65);
    execute(&server.data(), &[&damage]);
    let to = rfc3339(MAY + 70 * MINUTE);
    let arguments = ["features", "sensor:roof", "--from", "2026-05-01T00:00:00Z", "--to", &to, "--resolution", "1s"];
    for (format, _, _) in TABLES {
        let more = ["--format", format, "--out", out.to_str().unwrap()];
        let cut = command(&server.data(), &[&arguments[..], &more].concat(), &[]).output().unwrap();
        let said = String::from_utf8_lossy(&cut.stderr).into_owned();
        assert!(cut.status.code() == Some(2) && said.contains("broke off"), "{format}: {said}");
        assert_eq!(std::fs::read(&out).unwrap(), b"what was there", "{format}");
    }
    let names: Vec<_> = server.folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{names:?}");
}

/// The largest RssAnon of a process while something is done, in kB.
fn largest_memory<T>(pid: u32, act: impl FnOnce() -> T) -> (u64, T) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut largest = 0;
            while !is_over.load(Ordering::Relaxed) {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
                largest = largest.max(line.split_whitespace().nth(1).unwrap().parse().unwrap());
                std::thread::park_timeout(std::time::Duration::from_millis(2));
            }
            largest
        });
        let done = act();
        is_over.store(true, Ordering::Relaxed);
        (watching.join().unwrap(), done)
    })
}

#[test]
fn a_year_of_minutes_is_streamed_in_little_memory() {
    const MINUTES: i64 = 60;
    const ROWS: i64 = YEAR / MINUTE;
    let server = Server::start();
    server.add_sensor(&json!({"id": "roof"}));
    let template = results::blocks(&["level"], 16_000, MAY, &wav(8, 16_000, 16_000 * 60));
    publish(&server.data(), (0..MINUTES).map(|number| minute("roof", number, &template)).collect());
    wait_heard(&server, "roof", 0, MINUTES as usize * 60);
    let data = server.data();
    wait_rolled_up(&data, 60);
    let Server { folder, up, client } = server;
    assert!(up.stop().success());
    stretch_to_a_year(&data, MINUTES * MINUTE, 60);
    let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let range = format!("from={}&to={}", rfc3339(MAY), rfc3339(MAY + YEAR));
    let path = format!("{}/api/v1/sensors/roof/features?{range}&resolution=1m&stat=leq,l90,max", up.url());
    let ask = |features: &str, format: &str| {
        let begun = std::time::Instant::now();
        let url = format!("{path}&features={features}&format={format}");
        let (memory, answer) = largest_memory(up.pid(), || client.get(&url).unwrap());
        let (bytes, seconds) = (answer.body.len(), begun.elapsed().as_secs_f64());
        println!("{features} as {format}: {bytes} bytes in {seconds:.1} s, RssAnon {} MB at most", memory / 1_000);
        assert_eq!(answer.status, 200);
        assert!(memory < 100_000, "{features} as {format}: {memory} kB");
        answer.body
    };
    for (format, _, _) in TABLES {
        std::fs::write(folder.path().join(format!("year.{format}")), ask("level.a,level.c", format)).unwrap();
    }
    // Many columns, of the format that collects rows.
    ask("level", "parquet");
    let compared = run("read_year.py", folder.path());
    assert_eq!(compared["rows"], ROWS, "{compared}");
}
