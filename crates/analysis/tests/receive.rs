//! Role `receive` on real streams: Icecast fed by ffmpeg, HLS from files, RTSP. What was not received is a gap of the
//! right length, what was received has no other.
//!
//! `RECEIVE_TEST_SECONDS` is how long each half of the Icecast tests lasts on the machine's clock (8 when nothing is
//! said): with 1,800 they are an hour in real time, and a day at 24 times the speed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use antiphon_analysis::messages::Offer;
use antiphon_analysis::pieces::Following;
use antiphon_analysis::receive::{self, Options, Stream};
use antiphon_analysis::topics::{ADMIT, INBOX};
use antiphon_audio::decode::{Decoder, Limits};
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::outbound::Allow;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Consumer, Queue};
use antiphon_servers::Icecast;
use prost::Message as _;
use tempfile::TempDir;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

/// How long a piece may be on its way, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What lies less apart is no gap.
const JITTER: Micros = 20_000;

fn stretched(Following { interrupted, certain, watch, settle }: Following, by: Micros) -> Following {
    Following { interrupted: interrupted * by, certain: certain * by, watch: watch * by, settle: settle * by }
}

/// A receiver of one stream on a queue of its own.
struct Receiver {
    _folder: TempDir,
    consumer: Box<dyn Consumer>,
    heard: Vec<Heard>,
    stop: CancellationToken,
}

/// One piece.
#[derive(Clone, Debug)]
struct Heard {
    start: Micros,
    end: Micros,
    title: String,
    /// Root of the mean square of the samples after the lead-in.
    level: f64,
}

impl Receiver {
    /// On a clock that runs `speed` times as fast as the machine's. What a busy machine holds up for a moment takes that many
    /// times as long on it, so what is borne is stretched as well.
    async fn start(url: &str, clock: &Clock, speed: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let access = Access { publish: vec![INBOX], consume: vec![ADMIT], dead: vec![] };
        let queue = FileQueue::open(folder.path(), access, clock.clone()).await.unwrap();
        queue.declare(&[ADMIT]).await.unwrap();
        let consumer = queue.consume(ADMIT, 16).await.unwrap();
        let options = Options {
            streams: vec![Stream { sensor: String::from("radio"), url: Url::parse(url).unwrap() }],
            allow: Allow::parse(&[String::from("127.0.0.1")]).unwrap(),
            ffmpeg: String::from("ffmpeg"),
            again: (Duration::from_millis(100), Duration::from_millis(400)),
            following: stretched(Following::STREAM, speed.into()),
        };
        let stop = CancellationToken::new();
        tokio::spawn(receive::run(Arc::new(queue), clock.clone(), options, stop.clone()));
        Self { _folder: folder, consumer, heard: Vec::new(), stop }
    }

    /// Takes pieces until one ends at `time` or later.
    async fn hear_until(&mut self, time: Micros) {
        while self.heard.last().is_none_or(|last| last.end < time) {
            let delivery = timeout(PATIENCE, self.consumer.next()).await.expect("nothing is received").unwrap();
            assert_eq!(delivery.message.source, "sensors/radio");
            let offer = Offer::decode(delivery.message.body.clone()).unwrap();
            self.heard.push(heard(&offer));
            delivery.ack().await.unwrap();
        }
    }

    /// From the end of each piece to the start of the next.
    fn gaps(&self) -> Vec<Micros> {
        self.heard.windows(2).map(|pair| pair[1].start - pair[0].end).filter(|gap| gap.abs() > JITTER).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn heard(offer: &Offer) -> Heard {
    assert!(offer.audio.len() <= 1024 * 1024);
    let mut decoder = Decoder::from_bytes(offer.audio.clone(), Limits::default()).unwrap();
    let rate = f64::from(decoder.info().rate);
    let lead_in = (f64::from(offer.lead_in) * rate / 1e6).round() as usize;
    let mut samples = Vec::new();
    while let Some(block) = decoder.next_block().unwrap() {
        samples.extend_from_slice(block.channels()[0]);
    }
    let body = &samples[lead_in..];
    let level = (body.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / body.len() as f64).sqrt();
    let end = offer.start + (body.len() as f64 / rate * 1e6).round() as Micros;
    Heard { start: offer.start, end, title: offer.title.clone(), level }
}

/// ffmpeg that plays a tone; killed when dropped.
struct Source(Child);

impl Source {
    fn start(speed: u32, output: &[&str]) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-readrate", &speed.to_string()])
            .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000", "-af", "volume=0.5"])
            .args(output)
            .stdin(Stdio::null())
            .spawn()
            .expect("ffmpeg is not installed: run `cargo xtask servers` once");
        Self(child)
    }

    fn to_icecast(icecast: &Icecast, speed: u32) -> Self {
        let url = icecast.source_url("radio");
        let coding = ["-c:a", "libmp3lame", "-b:a", "128k", "-content_type", "audio/mpeg", "-f", "mp3"];
        Self::start(speed, &[&coding[..], &[url.as_str()]].concat())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn half() -> Duration {
    let seconds = std::env::var("RECEIVE_TEST_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

/// Waits until a stream is there or gone; the clock's time then.
async fn wait_for(icecast: &Icecast, streams: bool, clock: &Clock) -> Micros {
    let deadline = Instant::now() + PATIENCE;
    while icecast.streams("radio") != streams {
        assert!(Instant::now() < deadline, "the stream does not come or go");
        tokio::task::yield_now().await;
    }
    clock.now()
}

/// Plays, is cut for `cut`, and plays again, all at `speed`; the gap may be off by `tolerance` of the machine's time.
async fn cut_in_the_middle(speed: u32, cut: Duration, tolerance: Duration) {
    let icecast = Icecast::start();
    let clock = Clock::paced(Clock::system().now(), speed);
    let stretched = |duration: Duration| duration.as_micros() as Micros * Micros::from(speed);
    let source = Source::to_icecast(&icecast, speed);
    wait_for(&icecast, true, &clock).await;
    let mut receiver = Receiver::start(&format!("{}/radio", icecast.url()), &clock, speed).await;
    let begun = clock.now();
    receiver.hear_until(begun + stretched(half())).await;
    drop(source);
    let stopped = clock.now();
    sleep_until(Instant::now() + cut).await;
    let source = Source::to_icecast(&icecast, speed);
    let again = wait_for(&icecast, true, &clock).await;
    receiver.hear_until(again + stretched(half())).await;
    drop(source);

    let gaps = receiver.gaps();
    let middle = stopped + (again - stopped) / 2;
    let before = receiver.heard.iter().map(|heard| heard.end).filter(|end| *end < middle).max().unwrap();
    let after = receiver.heard.iter().map(|heard| heard.start).filter(|start| *start > middle).min().unwrap();
    println!(
        "ends {} ms after the cut, begins {} ms after the source came back",
        (before - stopped) / 1_000,
        (after - again) / 1_000
    );
    println!(
        "at {speed} times: cut for {} s, gaps {gaps:?} µs, {} pieces",
        (again - stopped) as f64 / 1e6,
        receiver.heard.len()
    );
    assert_eq!(gaps.len(), 1, "{:?}", receiver.heard);
    // Times are those of arrival, and what was sent last before the cut arrived when it was cut.
    let tolerance = stretched(tolerance);
    assert!((before - stopped).abs() <= tolerance, "it was cut at {stopped}, and ends at {before}");
    assert!((after - again).abs() <= tolerance, "it came back at {again}, and begins at {after}");
    assert!(receiver.heard.iter().all(|heard| (0.01..0.2).contains(&heard.level)), "{:?}", receiver.heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_icecast_stream_that_is_cut_has_a_gap_of_the_right_length() {
    cut_in_the_middle(1, Duration::from_secs(6), Duration::from_millis(1_500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_at_24_times_has_one_gap() {
    cut_in_the_middle(24, Duration::from_secs(6), Duration::from_millis(1_500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn titles_come_with_the_audio() {
    let icecast = Icecast::start();
    let clock = Clock::system();
    let _source = Source::to_icecast(&icecast, 1);
    wait_for(&icecast, true, &clock).await;
    icecast.set_title("radio", "Trio für drei");
    let mut receiver = Receiver::start(&format!("{}/radio", icecast.url()), &clock, 1).await;
    receiver.hear_until(clock.now()).await;
    while receiver.heard.last().unwrap().title != "Trio für drei" {
        let end = receiver.heard.last().unwrap().end;
        receiver.hear_until(end + 1).await;
    }
}

/// Answers requests for files of a folder until the test ends.
fn serve_files(folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let lines: Vec<String> =
                BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let name = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("/").trim_start_matches('/');
            let answer = match std::fs::read(folder.join(name)) {
                Ok(body) => {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    [head.into_bytes(), body].concat()
                }
                Err(_) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            };
            let _ = stream.write_all(&answer);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hls_stream_is_received_without_a_gap() {
    let folder = TempDir::new().unwrap();
    let list = folder.path().join("live.m3u8");
    let coding = ["-c:a", "aac", "-b:a", "64k", "-f", "hls", "-hls_time", "1", "-hls_list_size", "6"];
    let _source = Source::start(1, &[&coding[..], &["-hls_flags", "delete_segments", list.to_str().unwrap()]].concat());
    std::fs::write(folder.path().join("main.m3u8"), "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000\nlive.m3u8\n").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !list.exists() {
        assert!(Instant::now() < deadline, "ffmpeg makes no playlist");
        tokio::task::yield_now().await;
    }
    let address = serve_files(folder.path());
    let clock = Clock::system();
    let begun = clock.now();
    let mut receiver = Receiver::start(&format!("http://{address}/main.m3u8"), &clock, 1).await;
    receiver.hear_until(begun + 12 * SECOND).await;
    assert_eq!(receiver.gaps(), [] as [Micros; 0], "{:?}", receiver.heard);
    let first = receiver.heard[0].start;
    assert!((first - begun).abs() < 5 * SECOND, "it begins {} µs after it was asked for", first - begun);
    assert!(receiver.heard.iter().all(|heard| (0.01..0.2).contains(&heard.level)), "{:?}", receiver.heard);
}

/// A camera: answers one RTSP client (RFC 2326) with a square wave in 16 bits, in packets of 20 ms inside the connection.
fn camera(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let head: Vec<String> =
            reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(request) = head.first() else { return };
        let number = head.iter().find(|line| line.starts_with("CSeq")).cloned().unwrap_or_default();
        let sdp = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
                   m=audio 0 RTP/AVP 97\r\na=rtpmap:97 L16/16000/1\r\na=control:track1\r\n";
        let (more, body) = match request.split(' ').next() {
            Some("OPTIONS") => (String::from("Public: DESCRIBE, SETUP, PLAY\r\n"), ""),
            Some("DESCRIBE") => (format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n", sdp.len()), sdp),
            Some("SETUP") => (String::from("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7\r\n"), ""),
            _ => (String::from("Session: 7\r\n"), ""),
        };
        stream.write_all(format!("RTSP/1.0 200 OK\r\n{number}\r\n{more}\r\n{body}").as_bytes()).unwrap();
        if request.starts_with("PLAY") {
            break;
        }
    }
    let begun = std::time::Instant::now();
    for packet in 0_u32.. {
        let mut bytes = vec![b'$', 0, 2, 140, 0x80, 97];
        bytes.extend((packet as u16).to_be_bytes());
        bytes.extend((packet * 320).to_be_bytes());
        bytes.extend([0, 0, 0, 1]);
        bytes.extend(
            (0..320_u32).flat_map(|sample| if sample / 20 % 2 == 0 { 3_000_i16 } else { -3_000 }.to_be_bytes()),
        );
        if stream.write_all(&bytes).is_err() {
            return;
        }
        let next = Duration::from_millis(20) * (packet + 1);
        while begun.elapsed() < next {
            std::thread::park_timeout(next - begun.elapsed().min(next));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_is_received_by_rtsp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || camera(stream));
        }
    });
    let clock = Clock::system();
    let begun = clock.now();
    let mut receiver = Receiver::start(&format!("rtsp://{address}/live"), &clock, 1).await;
    receiver.hear_until(begun + 12 * SECOND).await;
    assert_eq!(receiver.gaps(), [] as [Micros; 0], "{:?}", receiver.heard);
    assert!(receiver.heard.iter().all(|heard| (0.05..0.15).contains(&heard.level)), "{:?}", receiver.heard);
}
