//! The law of the blob port as code: one case per MUST, each on an empty store. An engine's test calls those that
//! [`blobs_contract_cases`](crate::blobs_contract_cases) lists, and those of links by itself, for not every engine has them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a case that fails panics")]

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{BlobError, Blobs, ByteStream, Bytes, collect, once};

/// Hands the names of all cases to the macro `$each`, which makes of them what it needs.
#[macro_export]
macro_rules! blobs_contract_cases {
    ($each:ident) => {
        $each! {
            put_is_read_back
            key_below_a_key_is_another_object
            range_gives_exactly_those_bytes
            missing_is_not_found
            failed_put_leaves_nothing
            concurrent_puts_and_gets_see_whole_objects
            other_keys_are_refused
        }
    };
}

async fn whole(blobs: &dyn Blobs, key: &str) -> Result<Vec<u8>, BlobError> {
    collect(blobs.get(key, None).await?).await
}

/// Bytes that tell where they come from.
fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| ((index / 7 + seed * 31) % 251) as u8).collect()
}

/// What was put comes back, in one piece or many, empty or large, with its size and SHA-256, and is replaced whole.
pub async fn put_is_read_back(blobs: Arc<dyn Blobs>) {
    for (seed, length) in [0, 1, 1000, 262_144, 1_000_001].into_iter().enumerate() {
        let bytes = pattern(seed, length);
        let pieces: Vec<_> = bytes.chunks(30_001).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let info = blobs.put("some/key-1.x_y", Box::pin(futures::stream::iter(pieces))).await.unwrap();
        assert_eq!((info.size, info.sha256), (length as u64, Sha256::digest(&bytes).into()));
        assert_eq!(blobs.info("some/key-1.x_y").await.unwrap(), info);
        assert_eq!(whole(&*blobs, "some/key-1.x_y").await.unwrap(), bytes);
    }
    blobs.check().await.unwrap();
}

/// A key and a key below it are two objects.
pub async fn key_below_a_key_is_another_object(blobs: Arc<dyn Blobs>) {
    blobs.put("a", once("one")).await.unwrap();
    blobs.put("a/b", once("two")).await.unwrap();
    assert_eq!(whole(&*blobs, "a").await.unwrap(), b"one");
    assert_eq!(whole(&*blobs, "a/b").await.unwrap(), b"two");
}

/// A range gives exactly those bytes, clipped to the object's end.
pub async fn range_gives_exactly_those_bytes(blobs: Arc<dyn Blobs>) {
    let bytes = pattern(3, 700_000);
    blobs.put("a", once(bytes.clone())).await.unwrap();
    for (from, to) in
        [(0, 1), (5, 5), (262_143, 262_145), (1, 699_999), (699_999, 900_000), (700_000, 700_001), (5, u64::MAX)]
    {
        let got = collect(blobs.get("a", Some(from..to)).await.unwrap()).await.unwrap();
        let clip = |at: u64| usize::try_from(at).unwrap().min(bytes.len());
        assert_eq!(got, bytes[clip(from)..clip(to)], "{from}..{to}");
    }
    blobs.put("empty", once("")).await.unwrap();
    assert_eq!(collect(blobs.get("empty", Some(0..5)).await.unwrap()).await.unwrap(), b"");
    for range in [0..1, 3..3] {
        assert!(matches!(blobs.get("none", Some(range)).await.err(), Some(BlobError::NotFound(_))));
    }
}

/// A missing object is told, and deleting it succeeds.
pub async fn missing_is_not_found(blobs: Arc<dyn Blobs>) {
    assert!(matches!(blobs.get("a/b", None).await.err(), Some(BlobError::NotFound(_))));
    assert!(matches!(blobs.info("a/b").await, Err(BlobError::NotFound(_))));
    blobs.delete("a/b").await.unwrap();
    blobs.put("a/b", once("x")).await.unwrap();
    blobs.delete("a/b").await.unwrap();
    blobs.delete("a/b").await.unwrap();
    assert!(matches!(blobs.info("a/b").await, Err(BlobError::NotFound(_))));
}

/// A put whose stream fails, or that is given up, leaves the old object and nothing else.
pub async fn failed_put_leaves_nothing(blobs: Arc<dyn Blobs>) {
    let failing = || -> ByteStream {
        let pieces = [Ok(Bytes::from(pattern(1, 400_000))), Err(BlobError::Source(String::from("cut")))];
        Box::pin(futures::stream::iter(pieces))
    };
    let failed = blobs.put("new", failing()).await;
    assert!(matches!(failed, Err(BlobError::Source(_))), "{failed:?}");
    assert!(matches!(blobs.info("new").await, Err(BlobError::NotFound(_))));
    blobs.put("old", once("old")).await.unwrap();
    blobs.put("old", failing()).await.unwrap_err();
    let first = futures::stream::iter([Ok(Bytes::from(pattern(1, 400_000)))]);
    let stalled: ByteStream = Box::pin(first.chain(futures::stream::pending()));
    let given_up = tokio::time::timeout(Duration::from_millis(50), blobs.put("old", stalled)).await;
    assert!(given_up.is_err());
    assert_eq!(whole(&*blobs, "old").await.unwrap(), b"old");
}

/// While writers replace an object, every reader sees one of them whole.
pub async fn concurrent_puts_and_gets_see_whole_objects(blobs: Arc<dyn Blobs>) {
    let length = |seed: usize| 300_000 + seed * 10_000;
    blobs.put("k", once(pattern(0, length(0)))).await.unwrap();
    let writers = (1..=4).map(|seed| {
        let blobs = Arc::clone(&blobs);
        tokio::spawn(async move {
            for _ in 0..5 {
                blobs.put("k", once(pattern(seed, length(seed)))).await.unwrap();
            }
        })
    });
    let readers = (0..2).map(|_| {
        let blobs = Arc::clone(&blobs);
        tokio::spawn(async move {
            for _ in 0..20 {
                let bytes = whole(&*blobs, "k").await.unwrap();
                let seed = (0..=4).find(|seed| length(*seed) == bytes.len()).expect("one of the objects");
                assert_eq!(bytes, pattern(seed, length(seed)));
            }
        })
    });
    for task in writers.chain(readers).collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// What is no key is refused, by every method.
pub async fn other_keys_are_refused(blobs: Arc<dyn Blobs>) {
    let long = "a".repeat(513);
    for key in ["", "/", "a/", "/a", "a//b", "..", "a/../b", ".", "a/./b", "A", "a b", "é", "a\0", "a~", &long] {
        assert!(matches!(blobs.put(key, once("x")).await, Err(BlobError::Key(_))), "{key:?}");
        assert!(matches!(blobs.get(key, None).await.err(), Some(BlobError::Key(_))), "{key:?}");
        assert!(matches!(blobs.info(key).await, Err(BlobError::Key(_))), "{key:?}");
        assert!(matches!(blobs.delete(key).await, Err(BlobError::Key(_))), "{key:?}");
    }
    let longest = "a".repeat(512);
    blobs.put(&longest, once("x")).await.unwrap();
    assert_eq!(whole(&*blobs, &longest).await.unwrap(), b"x");
}

/// What a process does that is killed while it puts: object after object, each acknowledged.
pub async fn put_until_killed(blobs: Arc<dyn Blobs>, acknowledge: impl Fn(usize)) {
    for seed in 0.. {
        blobs.put(&format!("killed/{seed}"), once(pattern(seed, 500_000))).await.unwrap();
        acknowledge(seed);
    }
}

/// After the kill: every acknowledged object is whole, and a later one is whole or not there.
pub async fn put_survives_a_kill(blobs: Arc<dyn Blobs>, acknowledged: usize) {
    for seed in 0..acknowledged + 10 {
        match whole(&*blobs, &format!("killed/{seed}")).await {
            Ok(bytes) => assert_eq!(bytes, pattern(seed, 500_000)),
            Err(BlobError::NotFound(_)) => assert!(seed > acknowledged, "object {seed} was acknowledged"),
            Err(error) => panic!("object {seed}: {error}"),
        }
    }
}

/// A link gives the bytes to whoever asks, a range of them too; the engine has links if this returns true.
pub async fn link_gives_the_bytes(blobs: Arc<dyn Blobs>) -> bool {
    let bytes = pattern(5, 300_000);
    blobs.put("some/key-1.x_y", once(bytes.clone())).await.unwrap();
    let Some(link) = blobs.link("some/key-1.x_y", Duration::from_secs(60)).await.unwrap() else { return false };
    assert_eq!(fetch(link.reveal(), "").await, (200, bytes.clone()));
    assert_eq!(fetch(link.reveal(), "Range: bytes=1000-1999\r\n").await, (206, bytes[1000..2000].to_vec()));
    let missing = blobs.link("some/other", Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!(fetch(missing.reveal(), "").await.0, 404);
    true
}

/// A link is refused once its time is over.
pub async fn link_expires(blobs: Arc<dyn Blobs>) -> bool {
    blobs.put("a", once("x")).await.unwrap();
    let Some(link) = blobs.link("a", Duration::from_secs(2)).await.unwrap() else { return false };
    assert_eq!(fetch(link.reveal(), "").await.0, 200);
    let refused = async {
        while fetch(link.reveal(), "").await.0 != 403 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await.expect("it expires");
    true
}

/// A link opens nothing but its object, for nothing but reading, and not for longer.
pub async fn changed_link_is_refused(blobs: Arc<dyn Blobs>) -> bool {
    blobs.put("a", once("x")).await.unwrap();
    blobs.put("b", once("y")).await.unwrap();
    let Some(link) = blobs.link("a", Duration::from_secs(60)).await.unwrap() else { return false };
    let (path, signature) = link.reveal().split_once('?').unwrap();
    let other_object = format!("{}/b?{signature}", path.rsplit_once('/').unwrap().0);
    let longer = link.reveal().replace("Expires=60", "Expires=600000");
    assert_ne!(longer, link.reveal());
    for changed in [other_object, longer, format!("{path}?"), link.reveal().replace("Signature=", "Signature=0")] {
        assert_eq!(fetch(&changed, "").await.0, 403);
    }
    let (status, _) = request("DELETE", link.reveal(), "").await;
    assert_eq!(status, 403);
    assert_eq!(fetch(link.reveal(), "").await, (200, b"x".to_vec()));
    true
}

/// What a stranger's plain GET of a link is answered with: status and body.
pub async fn fetch(url: &str, headers: &str) -> (u16, Vec<u8>) {
    request("GET", url, headers).await
}

async fn request(method: &str, url: &str, headers: &str) -> (u16, Vec<u8>) {
    let rest = url.strip_prefix("http://").expect("servers of tests speak plain HTTP");
    let (host, path) = rest.split_once('/').unwrap();
    let mut connection = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut answer)).await;
    read.expect("an answer in time").unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer.split_off(end))
}
