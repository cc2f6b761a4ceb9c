//! Alerts through the binary: audio in, web hooks out to a receiver on this machine, and SIGKILL of `up` at random moments
//! and at every named step. Each change is in the history once and arrives with its own id, that id once or again.
//!
//! Signatures are checked by the Python of `docs/guides/alerts.md`, too.
//!
//! `ALERT_TEST_PIECES` sets the changes of each sensor (24 when nothing is said), with a kill for every second one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon_notify::{HEADERS, Secret, signature};
use antiphon_platform::clock::{Clock, SECOND};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::system::{Folders, System};
use support::traffic::wait_stored;
use support::{Client, Numbers, rfc3339};

const RATE: u32 = 16_000;

/// Seconds of one piece, and of those that an alert needs.
const PIECE: i64 = 5;
const NEEDED: i64 = 3;

/// How long everything may take to arrive after the last kill: a lease, some pauses, a busy machine.
const ARRIVES: Duration = Duration::from_secs(180);

/// What a receiver was sent.
#[derive(Clone, Debug)]
struct Call {
    id: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
    /// Whether it answered 200.
    is_taken: bool,
}

/// A receiver of web hooks that takes some and fails others.
struct Receiver {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Receiver {
    /// One that fails `share` of eight calls: by 500, or by no answer at all.
    fn start(share: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}/hooks/in-the-path", listener.local_addr().unwrap().port());
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let noted = Arc::clone(&calls);
        std::thread::spawn(move || {
            let mut numbers = Numbers(7);
            for stream in listener.incoming() {
                let fails = numbers.below(8) < share;
                let drops = numbers.below(2) == 0;
                // A sender that was killed in the middle leaves half a request.
                let Some((mut stream, mut call)) = read(stream.unwrap()) else { continue };
                call.is_taken = !fails;
                noted.lock().unwrap().push(call);
                let status = if fails { "500 No" } else { "200 Yes" };
                if !(fails && drops) {
                    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                }
            }
        });
        Self { url, calls }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn wait_for(&self, is_there: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let deadline = Instant::now() + ARRIVES;
        loop {
            let calls = self.calls();
            if is_there(&calls) {
                return calls;
            }
            assert!(Instant::now() < deadline, "it did not arrive: {calls:?}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

fn read(stream: TcpStream) -> Option<(TcpStream, Call)> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(head.insert(name.to_lowercase(), value.to_owned())),
            None if line == "\r\n" => break,
            None => {}
        }
    }
    let mut body = vec![0; head.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let [id, timestamp, signature] = HEADERS.map(|name| head[name].clone());
    Some((stream, Call { id, timestamp, signature, body, is_taken: false }))
}

/// A tone of 1 kHz for a piece: about -13 or -73 dBFS.
fn tone(is_loud: bool) -> Vec<u8> {
    let samples = usize::try_from(PIECE).unwrap() * RATE as usize;
    let mut wav = support::wav(1, RATE, samples);
    let amplitude = if is_loud { 10_000.0 } else { 10.0 };
    for (n, sample) in wav[44..].chunks_exact_mut(2).enumerate() {
        let phase = n as f64 / f64::from(RATE) * 1_000.0 * std::f64::consts::TAU;
        sample.copy_from_slice(&((phase.sin() * amplitude) as i16).to_le_bytes());
    }
    wav
}

/// A sensor with an alert on it.
struct Watched {
    sensor: String,
    alert: String,
    secret: Secret,
    /// The first second of its first piece, in µs.
    start: i64,
}

impl Watched {
    fn make(client: &Client, url: &str, sensor: &str, hook: &str) -> Self {
        client.post_json(&format!("{url}/api/v1/sensors"), &json!({"id": sensor}));
        let fields =
            json!({"sensor": sensor, "threshold": -40.0, "hysteresis": 6.0, "seconds": NEEDED, "webhook": hook});
        let answer = client.post_json(&format!("{url}/api/v1/alerts"), &fields);
        assert_eq!(answer.status, 201, "{}", answer.json());
        let made = answer.json();
        let secret = made["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
        Self {
            sensor: sensor.to_owned(),
            alert: made["id"].as_str().unwrap().to_owned(),
            secret: Secret::of(STANDARD.decode(secret).unwrap()),
            // Nothing before it was made counts; what a sensor sends may lie up to an hour ahead.
            start: (Clock::system().now() / SECOND + 2) * SECOND,
        }
    }

    /// Sends a piece, the even ones loud, until it is accepted, and waits until it is stored.
    fn hear(&self, client: &Client, url: &str, piece: i64) {
        let start = rfc3339(self.start + piece * PIECE * SECOND);
        let target = format!("{url}/api/v1/sensors/{}/recordings?start={start}", self.sensor);
        let body = tone(piece % 2 == 0);
        let deadline = Instant::now() + ARRIVES;
        loop {
            match client.send("POST", &target, &[("content-type", "audio/wav")], &body) {
                Ok(answer) if answer.status == 202 => {
                    return wait_stored(client, url, answer.json()["id"].as_str().unwrap());
                }
                Ok(answer) => assert!(answer.status >= 500, "{}", answer.json()),
                // It was killed, or is not there yet.
                Err(_) => {}
            }
            assert!(Instant::now() < deadline, "{target} was never accepted");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn history(&self, client: &Client, url: &str) -> Vec<Value> {
        let answer = client.get(&format!("{url}/api/v1/alerts/{}/history?limit=1000", self.alert)).unwrap();
        let mut items = answer.json()["items"].as_array().unwrap().clone();
        items.reverse();
        items
    }

    /// Waits until `pieces` changes have arrived by the history, and holds both against what was sent and received.
    fn check(&self, client: &Client, url: &str, pieces: i64, calls: &dyn Fn() -> Vec<Call>) -> usize {
        let deadline = Instant::now() + ARRIVES;
        let has_arrived = |items: &[Value]| {
            items.len() >= pieces as usize && items.iter().all(|item| item["delivery"]["state"] == "arrived")
        };
        let history = loop {
            let history = self.history(client, url);
            if has_arrived(&history) {
                break history;
            }
            assert!(Instant::now() < deadline, "not all has arrived: {history:#?}");
            std::thread::park_timeout(Duration::from_millis(100));
        };
        assert_eq!(history.len(), pieces as usize, "{history:#?}");
        for (piece, item) in (0..).zip(&history) {
            let began = self.start + piece * PIECE * SECOND;
            let state = if piece % 2 == 0 { "on" } else { "off" };
            assert_eq!((item["number"].as_i64(), item["state"].as_str()), (Some(piece + 1), Some(state)));
            assert_eq!(item["began"], rfc3339(began));
            assert_eq!(item["at"], rfc3339(began + NEEDED * SECOND));
        }
        let own: Vec<Call> = calls().into_iter().filter(|call| call.id.starts_with(&self.alert)).collect();
        let mut bodies: BTreeMap<&str, &[u8]> = BTreeMap::new();
        let mut firsts = Vec::new();
        for call in &own {
            let time: i64 = call.timestamp.parse().unwrap();
            assert_eq!(call.signature, signature(&self.secret, &call.id, time * SECOND, &call.body), "{}", call.id);
            match bodies.insert(&call.id, &call.body) {
                Some(before) => assert_eq!(before, call.body, "the same id is the same message"),
                None => firsts.push(call.id.clone()),
            }
        }
        let expected: Vec<String> = (1..=pieces).map(|number| format!("{}/{number}", self.alert)).collect();
        // What a killed process had taken from the queue comes back behind what was taken since; numbers tell the order.
        firsts.sort_by_key(|id| id.rsplit('/').next().and_then(|number| number.parse::<i64>().ok()));
        assert_eq!(firsts, expected, "each arrived");
        let taken: BTreeSet<&str> = own.iter().filter(|call| call.is_taken).map(|call| call.id.as_str()).collect();
        assert_eq!(taken.len(), expected.len(), "each was taken");
        own.len() - firsts.len()
    }
}

/// What the receiver of the guide, which is Python, makes of the calls: whether each is from who knows `secret`.
fn checked_by_the_guide(calls: &[Call], secret: &str) -> Value {
    let guide = include_str!("../../../docs/guides/alerts.md");
    let program = guide.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let calls: Vec<Value> = calls
        .iter()
        .map(|call| {
            let values = [&call.id, &call.timestamp, &call.signature];
            let headers: BTreeMap<&str, &String> = HEADERS.into_iter().zip(values).collect();
            json!([headers, String::from_utf8(call.body.clone()).unwrap()])
        })
        .collect();
    let run = "\nimport json, sys\ncalls, secret = json.loads(sys.argv[1])\n\
               print(json.dumps([is_ours(head, body.encode(), secret) for head, body in calls]))";
    let output = std::process::Command::new("python3")
        .args(["-I", "-c", &format!("{program}{run}"), &json!([calls, secret]).to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn environment() -> Vec<(String, String)> {
    vec![(String::from("ANTIPHON_NOTIFY__ALLOW"), String::from("127.0.0.1"))]
}

#[test]
fn a_loud_sound_is_told_and_a_test_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(0);
    let system = System::start(&folder.path().join("data"), Folders::Shared, &environment(), &["up"]);
    let (url, client) = (system.url(), system.operator());
    let watched = Watched::make(&client, &url, "roof", &receiver.url);
    let answer = client.post_json(&format!("{url}/api/v1/alerts/{}/test", watched.alert), &json!({}));
    assert_eq!(answer.status, 202, "{}", answer.json());
    let test = answer.json()["id"].as_str().unwrap().to_owned();
    let calls = receiver.wait_for(|calls| !calls.is_empty());
    assert_eq!(calls[0].id, test);
    let body: Value = serde_json::from_slice(&calls[0].body).unwrap();
    assert_eq!((&body["type"], &body["data"]["alert"]["sensor"]), (&json!("alert.test"), &json!("roof")));
    println!("{} {}", calls[0].id, String::from_utf8_lossy(&calls[0].body));
    receiver.calls.lock().unwrap().clear();

    for piece in 0..3 {
        watched.hear(&client, &url, piece);
    }
    let again = watched.check(&client, &url, 3, &|| receiver.calls());
    assert_eq!(again, 0, "nothing failed, so nothing came twice");
    let calls = receiver.calls();
    for call in &calls {
        println!("{} {}", call.id, String::from_utf8_lossy(&call.body));
    }
    assert_eq!(checked_by_the_guide(&calls, &watched.secret.text()), json!([true, true, true]));
    assert_eq!(checked_by_the_guide(&calls[..1], &Secret::random().unwrap().text()), json!([false]));
    let forged = Call { body: [calls[0].body.as_slice(), b" "].concat(), ..calls[0].clone() };
    assert_eq!(checked_by_the_guide(&[forged], &watched.secret.text()), json!([false]));
    let shown = client.get(&format!("{url}/api/v1/alerts/{}", watched.alert)).unwrap().json();
    assert_eq!((&shown["state"], &shown["last_test"]["state"]), (&json!("on"), &json!("arrived")), "{shown}");
    let text = shown.to_string() + &system.log("up");
    assert!(!text.contains("whsec_") && !text.contains("in-the-path"), "secrets stay secret");
}

#[test]
fn private_addresses_are_refused_unless_they_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(0);
    let data = folder.path().join("data");
    let watched = {
        let system = System::start(&data, Folders::Shared, &environment(), &["up"]);
        Watched::make(&system.operator(), &system.url(), "roof", &receiver.url)
    };
    // From now on it is allowed no more.
    let system = System::start(&data, Folders::Shared, &[], &["up"]);
    let (url, client) = (system.url(), system.operator());
    let another = json!({"sensor": "roof", "threshold": 1, "webhook": receiver.url});
    let answer = client.post_json(&format!("{url}/api/v1/alerts"), &another);
    assert_eq!((answer.status, &answer.json()["field"]), (400, &json!("webhook")), "{}", answer.json());
    assert!(answer.json()["detail"].as_str().unwrap().contains("notify.allow"), "{}", answer.json());
    client.post_json(&format!("{url}/api/v1/alerts/{}/test", watched.alert), &json!({}));
    let deadline = Instant::now() + ARRIVES;
    let problem = loop {
        let shown = client.get(&format!("{url}/api/v1/alerts/{}", watched.alert)).unwrap().json();
        if let Some(problem) = shown["last_test"]["problem"].as_str() {
            break problem.to_owned();
        }
        assert!(Instant::now() < deadline, "{shown}");
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert!(problem.contains("127.0.0.1") && problem.contains("private"), "{problem}");
    assert!(receiver.calls().is_empty());
}

#[test]
fn each_change_is_told_once_whatever_is_killed() {
    let pieces = i64::from(support::parameter("ALERT_TEST_PIECES", 24));
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(2);
    let system = System::start(&folder.path().join("data"), Folders::Shared, &environment(), &["up"]);
    let (url, client) = (system.url(), system.operator());
    let watched: Vec<Watched> =
        ["roof", "yard", "river-2"].map(|sensor| Watched::make(&client, &url, sensor, &receiver.url)).into();

    let over = AtomicBool::new(false);
    let mut kills = 0;
    std::thread::scope(|scope| {
        let senders: Vec<_> = watched
            .iter()
            .map(|watched| scope.spawn(|| (0..pieces).for_each(|piece| watched.hear(&client, &url, piece))))
            .collect();
        scope.spawn(|| {
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            over.store(true, Ordering::SeqCst);
        });
        let mut numbers = Numbers(11);
        while !over.load(Ordering::SeqCst) && kills < pieces / 2 {
            std::thread::park_timeout(Duration::from_millis(numbers.below(1_500)));
            system.kill("up");
            kills += 1;
        }
    });
    let again: usize = watched.iter().map(|one| one.check(&client, &url, pieces, &|| receiver.calls())).sum();
    println!("{kills} kills, {} changes told, {again} sent again with the same id", watched.len() as i64 * pieces);
}

#[test]
fn a_kill_at_each_step_loses_nothing_and_tells_nothing_twice() {
    const STEPS: [(&str, &str); 5] = [
        ("write", "alerts.before-commit"),
        ("write", "alerts.after-commit"),
        ("relay", "relay.after-publish"),
        ("notify", "notify.after-effect-before-ack"),
        ("notify", "notify.after-send-before-note"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(0);
    let roles = ["api", "analyze", "write", "relay", "notify"];
    let system = System::start(&folder.path().join("data"), Folders::Shared, &environment(), &roles);
    let (url, client) = (system.url(), system.operator());
    let watched = Watched::make(&client, &url, "roof", &receiver.url);
    for (piece, (role, step)) in (0..).zip(STEPS) {
        std::thread::scope(|scope| {
            scope.spawn(|| watched.hear(&client, &url, piece));
            system.kill_at(role, step, 1);
        });
        let again = watched.check(&client, &url, piece + 1, &|| receiver.calls());
        println!("{role} killed at {step}: {} calls in all, {again} of them again", receiver.calls().len());
        assert!(again > 0 || step != "notify.after-send-before-note", "it was sent, but nobody knew");
    }
}
