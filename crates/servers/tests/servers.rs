//! Each server works, comes back with its data after a SIGKILL, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use antiphon_servers::{AwsApi, Durability, Fault, Icecast, ObjectStore, Postgres, Proxy, RabbitMq};

/// Processes that carry a server's mark, which holds this test's folder name.
fn marked(prefix: &str) -> usize {
    let script = format!("grep -lzF 'ANTIPHON_TEST_SERVER={prefix}' /proc/[0-9]*/environ 2>/dev/null | wc -l");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

#[test]
fn postgres_keeps_what_was_committed_before_a_kill() {
    let server = Postgres::start(Durability::Full);
    let database = server.database();
    database.execute_as_admin("CREATE TABLE one (n int); INSERT INTO one VALUES (7)");
    server.kill();
    assert!(!server.answers());
    server.restart();
    assert_eq!(database.execute_as_admin("SELECT n FROM one"), "7");
    server.execute_as_admin("CREATE ROLE reader LOGIN PASSWORD 'p'");
    assert!(database.url_of("reader", "p").contains("reader:p@"));
    drop(database);
    assert_eq!(server.execute_as_admin("SELECT count(*) FROM pg_database WHERE datname LIKE 'test_%'"), "0");
    server.stop();
}

#[test]
fn rabbitmq_keeps_its_queues_over_a_kill_and_knows_rights() {
    let server = RabbitMq::start();
    let vhost = server.vhost();
    let path = format!("queues/{}/kept", vhost.name());
    let queue = serde_json::json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    server.manage("PUT", &path, Some(&queue));
    server.user("someone", "p");
    vhost.permit("someone", "", "^amq\\.topic$", "");
    vhost.permit_topics("someone", "amq.topic", "^sensors\\.one\\.recordings$", "");
    server.kill();
    assert!(!server.answers());
    server.restart();
    assert_eq!(vhost.queue("kept").expect("the queue is there")["type"], "quorum");
    server.remove_user("someone");
    let mark = server.mark();
    assert!(marked(&mark) > 1, "the node and its name server are marked");
    drop(vhost);
    drop(server);
    assert_eq!(marked(&mark), 0, "nothing stays behind");
}

#[test]
fn the_object_store_keeps_a_bucket_over_a_kill_and_refuses_strangers() {
    let server = ObjectStore::start();
    let bucket = server.bucket();
    let stranger = Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"])
        .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "stranger:wrong"])
        .arg(format!("{}/{}", bucket.endpoint(), bucket.name()))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&stranger.stdout), "403");
    server.kill();
    assert!(!server.answers());
    server.restart();
    assert!(server.has_bucket(bucket.name()));
}

#[test]
fn aws_and_icecast_answer() {
    let aws = AwsApi::start();
    assert!(aws.url().starts_with("http://127.0.0.1:"));
    aws.kill();
    aws.restart();
    let radio = Icecast::start();
    assert!(!radio.streams("station"));
    radio.kill();
    radio.restart();
}

#[test]
fn servers_end_with_the_process_that_started_them() {
    // This test's own binary starts a server and is killed with SIGKILL while it runs.
    if std::env::var_os("START_AND_WAIT").is_some() {
        let server = Postgres::start(Durability::None);
        println!("mark={}", server.mark());
        let _ = std::io::stdout().flush();
        loop {
            std::thread::park();
        }
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers_end_with_the_process_that_started_them", "--nocapture"])
        .env("START_AND_WAIT", "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut output = child.stdout.take().unwrap();
    let mark = loop {
        let mut buffer = [0; 1024];
        let count = output.read(&mut buffer).unwrap();
        assert!(count > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if let Some((_, rest)) = text.split_once("mark=")
            && let Some((mark, _)) = rest.split_once('\n')
        {
            break mark.to_owned();
        }
    };
    assert!(marked(&mark) >= 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while marked(&mark) > 0 || std::env::temp_dir().join(&mark).exists() {
        assert!(Instant::now() < deadline, "the server outlived its test");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn servers_speak_tls_with_a_certificate_that_can_be_checked() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, address: std::net::SocketAddr, authority: String, protocol: &[&str]| {
        let file = folder.path().join(name);
        std::fs::write(&file, authority).unwrap();
        let output = Command::new("openssl")
            .args(["s_client", "-verify_return_error", "-verify_ip", "127.0.0.1", "-brief"])
            .args(["-connect", &address.to_string(), "-CAfile"])
            .arg(file)
            .args(protocol)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("Verification: OK"), "{name}: {said}");
    };
    let postgres = Postgres::start(Durability::None);
    check("postgres", postgres.address(), postgres.authority(), &["-starttls", "postgres"]);
    let rabbitmq = RabbitMq::start();
    check("rabbitmq", rabbitmq.tls_address(), rabbitmq.authority(), &[]);
    let store = ObjectStore::start();
    check("store", store.tls_address(), store.authority(), &[]);
}

/// A server that sends back what it gets, and a proxy before it.
fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut copy = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut copy);
            });
        }
    });
    Proxy::start(address)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text)?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_proxy_passes_bytes_both_ways() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    assert_eq!(ask(&mut stream, b"hello").unwrap(), b"hello");
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn a_cut_ends_old_and_new_connections() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    ask(&mut stream, b"hello").unwrap();
    proxy.set(Fault::Cut);
    assert!(ask(&mut stream, b"hello").is_err());
    assert!(ask(&mut connect(&proxy), b"hello").is_err());
    proxy.set(Fault::None);
    assert_eq!(ask(&mut connect(&proxy), b"hello").unwrap(), b"hello");
}

#[test]
fn a_refusing_proxy_does_not_listen() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    ask(&mut stream, b"hello").unwrap();
    proxy.set(Fault::Refuse);
    assert!(ask(&mut stream, b"hello").is_err());
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(proxy.address()).is_ok() {
        assert!(Instant::now() < deadline, "it still listens");
    }
    proxy.set(Fault::None);
    while TcpStream::connect(proxy.address()).is_err() {
        assert!(Instant::now() < deadline, "it does not listen again");
    }
}

#[test]
fn stalled_bytes_pass_later() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    ask(&mut stream, b"hello").unwrap();
    proxy.set(Fault::Stall);
    let error = ask(&mut stream, b"later").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "no end, no answer");
    proxy.set(Fault::None);
    let mut answer = [0; 5];
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"later");
}

#[test]
fn a_half_open_connection_never_answers_again() {
    let proxy = echo();
    let mut old = connect(&proxy);
    ask(&mut old, b"hello").unwrap();
    proxy.set(Fault::HalfOpen);
    let mut new = connect(&proxy);
    for stream in [&mut old, &mut new] {
        assert_eq!(ask(stream, b"hello").unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
    proxy.set(Fault::None);
    for stream in [&mut old, &mut new] {
        assert_eq!(ask(stream, b"hello").unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
    assert_eq!(ask(&mut connect(&proxy), b"hello").unwrap(), b"hello");
}

#[test]
fn a_throttle_lets_so_many_bytes_a_second_pass() {
    let proxy = echo();
    proxy.set(Fault::Throttle { bytes_per_second: 10_000 });
    let mut stream = connect(&proxy);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let began = Instant::now();
    assert_eq!(ask(&mut stream, &[1; 5_000]).unwrap(), [1; 5_000]);
    assert!(began.elapsed() >= Duration::from_millis(490), "{:?}", began.elapsed());
}

#[test]
fn a_delay_makes_each_piece_late() {
    let proxy = echo();
    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let mut stream = connect(&proxy);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let began = Instant::now();
    ask(&mut stream, b"hello").unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200), "there and back: {:?}", began.elapsed());
}

#[test]
fn corruption_turns_one_bit_of_each_so_many_bytes() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(target.local_addr().unwrap());
    proxy.set(Fault::Corrupt { every: 10 });
    let mut stream = connect(&proxy);
    stream.write_all(&[0; 15]).unwrap();
    let (mut received, _) = target.accept().unwrap();
    let mut bytes = [0; 25];
    received.read_exact(&mut bytes[..15]).unwrap();
    stream.write_all(&[0; 10]).unwrap();
    received.read_exact(&mut bytes[15..]).unwrap();
    let turned: Vec<usize> = (0..25).filter(|&position| bytes[position].count_ones() == 1).collect();
    assert_eq!(turned, [9, 19], "{bytes:?}");
}
