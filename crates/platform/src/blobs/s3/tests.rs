use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use antiphon_servers::{Fault, Identity, ObjectStore as Server, Proxy};
use futures::TryStreamExt;
use object_store::signer::SignedUrlOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::blobs::contract::fetch;
use crate::blobs::{collect, once};

/// More than two parts, and not a whole number of them.
const LARGE: usize = 24_000_001;

async fn open(url: &str) -> S3Blobs {
    S3Blobs::open(url, Access::Write).await.unwrap()
}

/// Bytes that tell where they come from.
fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| ((index / 7 + seed * 31) % 251) as u8).collect()
}

fn pieces(bytes: &[u8]) -> Vec<Result<Bytes, BlobError>> {
    bytes.chunks(100_003).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

fn stream(bytes: &[u8]) -> ByteStream {
    Box::pin(futures::stream::iter(pieces(bytes)))
}

async fn names(blobs: &S3Blobs) -> Vec<String> {
    let listed = blobs.bucket.store.list(None).map_ok(|found| found.location.to_string());
    listed.try_collect().await.unwrap()
}

/// What the server says of uploads that are neither completed nor aborted.
async fn has_unfinished_uploads(blobs: &S3Blobs) -> bool {
    let options = SignedUrlOptions::default().with_query([("uploads", "")]);
    let minute = Duration::from_secs(60);
    let url = blobs.bucket.store.signed_url_opts(http::Method::GET, &Path::from(""), minute, &options).await.unwrap();
    let (status, body) = fetch(url.as_str(), "").await;
    let body = String::from_utf8(body).unwrap();
    assert!(status == 200 && body.contains("ListMultipartUploadsResult"), "{status} {body}");
    body.contains("<UploadId>")
}

async fn until_nothing_is_unfinished(blobs: &S3Blobs) {
    let nothing = async {
        while has_unfinished_uploads(blobs).await || !names(blobs).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), nothing).await.expect("a failed put leaves nothing");
}

#[tokio::test]
async fn a_large_object_goes_up_in_parts_and_comes_back() {
    let bucket = Server::shared().bucket();
    let blobs = open(&bucket.url()).await;
    let bytes = pattern(1, LARGE);
    let info = blobs.put("long/one", stream(&bytes)).await.unwrap();
    assert_eq!((info.size, info.sha256), (LARGE as u64, Sha256::digest(&bytes).into()));
    assert_eq!(blobs.info("long/one").await.unwrap(), info);
    assert_eq!(collect(blobs.get("long/one", None).await.unwrap()).await.unwrap(), bytes);
    let border = PART as u64 - 1000..PART as u64 + 1000;
    let got = collect(blobs.get("long/one", Some(border)).await.unwrap()).await.unwrap();
    assert_eq!(got, bytes[PART - 1000..PART + 1000]);
    let link = blobs.link("long/one", Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!(fetch(link.reveal(), "").await, (200, bytes));
    assert_eq!(names(&blobs).await.len(), 2, "the object and its checksum");
    assert!(!has_unfinished_uploads(&blobs).await);

    let exactly_two_parts = pattern(2, 2 * PART);
    blobs.put("long/one", stream(&exactly_two_parts)).await.unwrap();
    assert_eq!(collect(blobs.get("long/one", None).await.unwrap()).await.unwrap(), exactly_two_parts);
    assert_eq!(names(&blobs).await.len(), 2, "the checksum of what was replaced is gone");
    blobs.put("long/one", once("small")).await.unwrap();
    assert_eq!(names(&blobs).await, ["long/one"]);
    blobs.put("long/one", stream(&exactly_two_parts)).await.unwrap();
    blobs.delete("long/one").await.unwrap();
    assert_eq!(names(&blobs).await, [""; 0]);
}

#[test]
fn long_segments_fit_into_file_names() {
    assert_eq!(object_name("a/b"), "a/b");
    let name = object_name(&format!("x/{}/y", "a".repeat(500))).into_owned();
    assert!(name.split('/').all(|segment| segment.len() <= 201), "{name}");
    assert_ne!(name, object_name(&format!("x/{}/{}/y", "a".repeat(200), "a".repeat(299))));
    assert_eq!(name.replace("~/", "").len(), 504);
}

#[tokio::test]
async fn a_prefix_goes_before_every_key() {
    let bucket = Server::shared().bucket();
    let (url, rest) = bucket.url().split_once('?').map(|(url, rest)| (url.to_owned(), rest.to_owned())).unwrap();
    let blobs = open(&format!("{url}/some/prefix?{rest}")).await;
    blobs.put("a", once("x")).await.unwrap();
    blobs.check().await.unwrap();
    assert_eq!(names(&blobs).await, ["some/prefix/a"]);
    assert!(matches!(open(&bucket.url()).await.info("a").await, Err(BlobError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_puts_at_once_one_is_there_whole() {
    let bucket = Server::shared().bucket();
    let blobs = Arc::new(open(&bucket.url()).await);
    let puts = (0..20).map(|seed| {
        let blobs = Arc::clone(&blobs);
        tokio::spawn(async move {
            // Some in parts, some in one.
            let length = if seed % 5 == 0 { PART + 10_000 + seed } else { 200_000 + seed };
            blobs.put("k", stream(&pattern(seed, length))).await.unwrap();
        })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap();
    }
    let got = collect(blobs.get("k", None).await.unwrap()).await.unwrap();
    let seed = (0..20).find(|seed| [PART + 10_000 + seed, 200_000 + seed].contains(&got.len())).unwrap();
    assert!(got == pattern(seed, got.len()), "the object is none of those that were put");
    assert_eq!(blobs.info("k").await.unwrap().sha256, <[u8; 32]>::from(Sha256::digest(&got)));
    assert!(!has_unfinished_uploads(&blobs).await);
}

#[tokio::test]
async fn a_failed_or_dropped_large_put_leaves_nothing() {
    let bucket = Server::shared().bucket();
    let blobs = open(&bucket.url()).await;
    let mut failing = pieces(&pattern(1, LARGE));
    failing.push(Err(BlobError::Source(String::from("cut"))));
    let failed = blobs.put("new", Box::pin(futures::stream::iter(failing))).await;
    assert!(matches!(failed, Err(BlobError::Source(_))), "{failed:?}");
    until_nothing_is_unfinished(&blobs).await;

    let begun = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&begun);
    let pieces = futures::stream::iter(pieces(&pattern(1, LARGE)));
    let stalled: ByteStream = Box::pin(
        pieces.chain(futures::stream::once(async move { told.notify_one() }).flat_map(|()| futures::stream::pending())),
    );
    let mut put = blobs.put("new", stalled);
    tokio::select! {
        put = &mut put => panic!("it ended: {put:?}"),
        () = begun.notified() => {}
    }
    assert!(has_unfinished_uploads(&blobs).await);
    drop(put);
    until_nothing_is_unfinished(&blobs).await;
}

#[tokio::test]
async fn damaged_objects_are_told() {
    let bucket = Server::shared().bucket();
    let blobs = open(&bucket.url()).await;
    let checksum = to_hex(&Sha256::digest(b"what was put").into());
    let wrong = attributes(CHECKSUM, checksum);
    blobs.bucket.put_whole("wrong", Bytes::from_static(b"what is there"), wrong).await.unwrap();
    let got = collect(blobs.get("wrong", None).await.unwrap()).await;
    assert!(matches!(got, Err(BlobError::Damaged(_))), "{got:?}");
    // What another program has put there has no checksum.
    blobs.bucket.put_whole("foreign", Bytes::from_static(b"x"), Attributes::new()).await.unwrap();
    assert!(matches!(blobs.info("foreign").await, Err(BlobError::Damaged(_))));
    assert!(matches!(blobs.get("foreign", None).await.err(), Some(BlobError::Damaged(_))));
    let bytes = pattern(1, PART + 1);
    blobs.put("large", stream(&bytes)).await.unwrap();
    let checksum = blobs.bucket.checksum_object("large").await.unwrap();
    blobs.bucket.put_whole(&checksum, Bytes::from("0".repeat(64)), Attributes::new()).await.unwrap();
    let got = collect(blobs.get("large", None).await.unwrap()).await;
    assert!(matches!(got, Err(BlobError::Damaged(_))));
    blobs.bucket.delete(&checksum).await.unwrap();
    assert!(matches!(blobs.info("large").await, Err(BlobError::Damaged(_))));
}

#[tokio::test]
async fn bytes_that_change_on_the_way_are_never_taken() {
    let bucket = Server::shared().bucket();
    let proxy = Proxy::start(Server::shared().address());
    let blobs = open(&format!("{}&timeout=3", bucket.url_at(proxy.address()))).await;
    let bytes = pattern(1, 2_000_000);
    blobs.put("a", stream(&bytes)).await.unwrap();
    proxy.set(Fault::Corrupt { every: 100_000 });
    let got = match blobs.get("a", None).await {
        Ok(got) => collect(got).await,
        Err(error) => Err(error),
    };
    assert!(matches!(got, Err(BlobError::Damaged(_) | BlobError::Unavailable(_))));
    blobs.put("b", stream(&bytes)).await.unwrap_err();
    proxy.set(Fault::None);
    assert!(matches!(blobs.info("b").await, Err(BlobError::NotFound(_))));
    assert_eq!(collect(blobs.get("a", None).await.unwrap()).await.unwrap(), bytes);
}

#[tokio::test]
async fn s3_read_handle_refuses_to_write() {
    let bucket = Server::shared().bucket();
    let blobs = S3Blobs::open(bucket.url(), Access::Read).await.unwrap();
    assert!(matches!(blobs.put("a", once("x")).await, Err(BlobError::NotPermitted)));
    assert!(matches!(blobs.delete("a").await, Err(BlobError::NotPermitted)));
    blobs.check().await.unwrap();
}

#[tokio::test]
async fn what_an_account_may_not_do_is_told() {
    let reader = Identity {
        access_key: String::from("reader"),
        secret_key: String::from("reads-only"),
        actions: vec![String::from("Read"), String::from("List")],
    };
    let server = Server::start_with(&[reader]);
    let bucket = server.bucket();
    let all = open(&bucket.url()).await.permissions().await.unwrap();
    assert_eq!(all, Permissions { read: Ok(()), write: Ok(()), delete: Ok(()) });
    let reader = open(&bucket.url_of("reader", "reads-only", server.address())).await;
    reader.check().await.unwrap();
    let found = reader.permissions().await.unwrap();
    assert_eq!(found.read, Ok(()));
    let (write, delete) = (found.write.unwrap_err(), found.delete.unwrap_err());
    assert!(write.contains("s3:PutObject") && write.contains("AccessDenied"), "{write}");
    assert!(delete.contains("s3:DeleteObject") && delete.contains("AccessDenied"), "{delete}");
    assert_eq!(names(&open(&bucket.url()).await).await, [""; 0], "the probe is gone");
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_shown_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let server = Server::shared();
    let bucket = server.bucket();
    for (key, secret, code) in [
        (antiphon_servers::ADMIN, "marker-secret", "SignatureDoesNotMatch"),
        ("nobody", "marker-secret", "InvalidAccessKeyId"),
    ] {
        let blobs = open(&bucket.url_of(key, secret, server.address())).await;
        let errors = [
            blobs.check().await.unwrap_err(),
            blobs.put("a", once("x")).await.unwrap_err(),
            blobs.get("a", None).await.err().unwrap(),
            blobs.info("a").await.unwrap_err(),
            blobs.delete("a").await.unwrap_err(),
            blobs.put("a", stream(&pattern(1, PART + 1))).await.unwrap_err(),
        ];
        for error in &errors {
            assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
            let told = format!("{error} {error:?}");
            assert!(told.contains("check the key and its secret") && !told.contains("marker"), "{told}");
        }
        assert!(errors[0].to_string().contains(code), "{}", errors[0]);
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!logged.contains("marker"), "a secret is in the log");
}

#[tokio::test]
async fn a_missing_bucket_is_told() {
    let url = Server::shared().bucket().url().replace("test-", "none-");
    let told = open(&url).await.check().await.unwrap_err().to_string();
    assert!(told.contains("NoSuchBucket") && told.contains("make it"), "{told}");
}

/// An address whose credentials are wrong while `refused` holds, until they are asked for anew.
fn rotated(right: String, wrong: String, refused: &Arc<AtomicBool>) -> Address {
    let refused = Arc::clone(refused);
    Address::new(move |freshness| {
        if freshness == Freshness::Now {
            refused.store(false, Ordering::SeqCst);
        }
        let url = if refused.load(Ordering::SeqCst) { &wrong } else { &right };
        Box::pin(std::future::ready(Ok(Secret::new(url))))
    })
}

#[tokio::test]
async fn rotated_keys_are_taken_up() {
    let server = Server::shared();
    let bucket = server.bucket();
    let wrong = bucket.url_of(antiphon_servers::ADMIN, "before-rotation", server.address());
    let refused = Arc::new(AtomicBool::new(true));
    let address = rotated(bucket.url(), wrong, &refused);
    let blobs = S3Blobs::open(address, Access::Write).await.unwrap();
    blobs.put("a", once("x")).await.unwrap();
    for _ in 0..2 {
        refused.store(true, Ordering::SeqCst);
        assert_eq!(collect(blobs.get("a", None).await.unwrap()).await.unwrap(), b"x");
        refused.store(true, Ordering::SeqCst);
        blobs.info("a").await.unwrap();
    }
    // In the middle of an upload too.
    let bytes = pattern(1, LARGE);
    let rotates = Arc::clone(&refused);
    let pieces = pieces(&bytes).into_iter().enumerate().map(move |(number, piece)| {
        if number % 90 == 89 {
            rotates.store(true, Ordering::SeqCst);
        }
        piece
    });
    blobs.put("long", Box::pin(futures::stream::iter(pieces))).await.unwrap();
    assert!(collect(blobs.get("long", None).await.unwrap()).await.unwrap() == bytes);
}

#[tokio::test]
async fn stalled_server_is_told() {
    let bucket = Server::shared().bucket();
    let proxy = Proxy::start(Server::shared().address());
    // Short, but not so short that a busy machine's server looks stalled.
    let blobs = open(&format!("{}&timeout=2", bucket.url_at(proxy.address()))).await;
    let bytes = pattern(1, 3_000_000);
    blobs.put("a", stream(&bytes)).await.unwrap();
    for fault in [Fault::Stall, Fault::HalfOpen, Fault::Refuse, Fault::Cut] {
        proxy.set(fault);
        let begun = Instant::now();
        let (check, info, put, delete) = tokio::join!(
            blobs.check(),
            blobs.info("a"),
            blobs.put("b", once("x")),
            // What was stalled may arrive later: of another object.
            blobs.delete("c"),
        );
        let took = begun.elapsed();
        for error in [check.unwrap_err(), info.unwrap_err(), put.unwrap_err(), delete.unwrap_err()] {
            assert!(matches!(error, BlobError::Unavailable(_)), "{fault:?}: {error:?}");
        }
        assert!(took < Duration::from_secs(30), "{fault:?}: {took:?}");
        proxy.set(Fault::None);
        let got = collect(blobs.get("a", None).await.unwrap()).await;
        assert!(got.unwrap() == bytes, "{fault:?}: after it was over");
    }
    // In the middle of a download, of more than lies ready in the buffers on its way.
    blobs.put("large", stream(&pattern(2, 40_000_000))).await.unwrap();
    let mut got = blobs.get("large", None).await.unwrap();
    got.next().await.unwrap().unwrap();
    proxy.set(Fault::HalfOpen);
    let error = tokio::time::timeout(Duration::from_secs(30), collect(got)).await.unwrap().unwrap_err();
    assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn killed_server_is_told() {
    let server = Server::start();
    let bucket = server.bucket();
    let blobs = open(&format!("{}&timeout=1", bucket.url())).await;
    blobs.put("before", once("x")).await.unwrap();
    let bytes = pattern(1, LARGE);
    let (kill, killed) = tokio::sync::oneshot::channel();
    let mut kill = Some(kill);
    let killing = futures::stream::iter(pieces(&bytes)).enumerate().map(move |(number, piece)| {
        // Behind the second part, before the last.
        if number == 200 {
            kill.take().map(|kill| kill.send(()));
        }
        piece
    });
    let begun = Instant::now();
    let (put, ()) = tokio::join!(blobs.put("large", Box::pin(killing)), async {
        killed.await.unwrap();
        server.kill();
    });
    assert!(matches!(put, Err(BlobError::Unavailable(_))), "{put:?}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    server.restart();
    assert!(matches!(blobs.info("large").await, Err(BlobError::NotFound(_))));
    assert_eq!(collect(blobs.get("before", None).await.unwrap()).await.unwrap(), b"x");
    blobs.put("large", stream(&bytes)).await.unwrap();
    assert!(collect(blobs.get("large", None).await.unwrap()).await.unwrap() == bytes);
}

#[tokio::test]
async fn encryption_is_asked_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&heads);
    let server = tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 8192];
            let read = connection.read(&mut buffer).await.unwrap();
            seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            let answer = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            connection.write_all(answer.as_bytes()).await.unwrap();
            connection.shutdown().await.unwrap();
            // Closed with bytes unread, it would be reset before the answer is.
            while connection.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        }
    });
    for (parameters, expected) in [
        ("encryption=AES256", "x-amz-server-side-encryption: AES256"),
        ("encryption=kms", "x-amz-server-side-encryption: aws:kms"),
        ("encryption=kms&kms_key=alias/x", "x-amz-server-side-encryption-aws-kms-key-id: alias/x"),
        ("", "PUT /bucket/a HTTP/1.1"),
    ] {
        heads.lock().unwrap().clear();
        let blobs = open(&format!("s3://key:secret@bucket?endpoint=http://127.0.0.1:{port}&{parameters}")).await;
        blobs.put("a", once("x")).await.unwrap();
        let heads = heads.lock().unwrap().clone();
        assert!(heads.to_lowercase().contains(&expected.to_lowercase()), "{parameters}: {heads}");
        assert_eq!(heads.contains("server-side"), !parameters.is_empty(), "{heads}");
    }
    server.abort();
}
