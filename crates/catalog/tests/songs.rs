//! Songs through the router: what is taken, refused, found, played and left behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod catalogue;

use std::io;
use std::sync::LazyLock;

use antiphon_catalog::{STATEMENTS, mark_failed, mark_stored, song_exists, sweep};
use antiphon_identity::Principal;
use antiphon_platform::clock::SECOND;
use antiphon_platform::db::{Engine, Statement};
use antiphon_platform::on_both_engines;
use antiphon_servers::{Durability, Postgres};
use axum::Extension;
use axum::body::Body;
use bytes::Bytes;
use catalogue::{Catalogue, answer, id_of, wav};
use futures::StreamExt;
use http::Request;
use serde_json::json;
use tower::ServiceExt;

on_both_engines! {
    every_statement_prepares,
    a_file_becomes_a_song_and_a_message_once,
    songs_are_listed_searched_and_paged,
    the_analysis_says_how_it_went,
    a_deleted_song_is_gone_with_all_that_belongs_to_it,
    the_sweep_removes_what_a_crash_left,
}

async fn every_statement_prepares(on: Engine) {
    let catalogue = Catalogue::open_on(on).await;
    catalogue.db.reader().prepare_all(STATEMENTS).await.unwrap();
}

async fn a_file_becomes_a_song_and_a_message_once(on: Engine) {
    let catalogue = Catalogue::open_on(on).await;
    let id = id_of(&wav(1)).to_string();
    let accepted = |duplicate| (202, json!({"id": id, "status": "accepted", "duplicate": duplicate}));
    assert_eq!(catalogue.upload("Höhle.wav", wav(1)).await, accepted(false));
    assert_eq!(catalogue.upload("other.wav", wav(1)).await, accepted(true));
    assert_eq!(catalogue.objects(), 1, "the second upload's object is gone again");

    let messages = catalogue.messages().await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].0, id);
    let song: antiphon_catalog::messages::Song = prost::Message::decode(&messages[0].1[..]).unwrap();
    assert_eq!((&song.id[..], &song.plan[..]), (&id_of(&wav(1)).as_bytes()[..], &b"plan"[..]));
    let mut stored = catalogue.blobs.get(&song.blob, None).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = stored.next().await {
        bytes.extend(chunk.unwrap());
    }
    assert_eq!(bytes, wav(1));

    let (status, info) = catalogue.get(&format!("/api/v1/songs/{id}")).await;
    assert_eq!(status, 200);
    assert_eq!(
        info,
        json!({"id": id, "status": "accepted", "title": "Höhle", "artist": null, "album": null, "duration": null,
            "size": 2044, "media_type": "audio/wav", "accepted_at": "2026-05-01T00:00:00.000000Z",
            "file_name": "Höhle.wav"})
    );
}

#[tokio::test]
async fn uploads_at_once_of_the_same_bytes_are_one_song() {
    let catalogue = Catalogue::open().await;
    let uploads = (0..8).map(|_| catalogue.upload("a.wav", wav(1)));
    let answers = futures::future::join_all(uploads).await;
    assert_eq!(answers.iter().filter(|(_, answer)| answer["duplicate"] == false).count(), 1);
    assert_eq!((catalogue.objects(), catalogue.messages().await.len()), (1, 1));
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let catalogue = Catalogue::open().await;
    let broken = futures::stream::iter([Ok(Bytes::from(wav(1))), Err(io::Error::other("the cable"))]);
    let endless = futures::stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(wav(1))));
    let cases: [(&str, Option<u64>, Body, u16); 6] = [
        ("empty", None, Body::empty(), 400),
        ("no audio", None, Body::from("once upon a time, there was no audio in this file at all, only words"), 415),
        ("short", None, Body::from("RI"), 415),
        ("announced", Some(10_001), Body::from_stream(futures::stream::pending::<io::Result<Bytes>>()), 413),
        ("endless", None, Body::from_stream(endless), 413),
        ("broken off", None, Body::from_stream(broken), 400),
    ];
    for (name, length, body, expected) in cases {
        let mut request = Request::post("/api/v1/songs");
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let (status, problem) = answer(catalogue.ask(Principal::Operator, request, body).await).await;
        assert_eq!(status, expected, "{name}: {problem}");
        assert_eq!(problem["status"], expected, "{name}");
    }
    assert_eq!((catalogue.objects(), catalogue.messages().await.len()), (0, 0));
    assert_eq!(catalogue.get("/api/v1/songs").await.1, json!({"items": [], "next": null}));
    catalogue.clock.advance(48 * 3_600 * SECOND);
    assert_eq!(sweep(&catalogue.db, &*catalogue.blobs, &catalogue.clock).await.unwrap(), 0);
}

#[tokio::test]
async fn a_sender_that_goes_away_leaves_nothing() {
    let catalogue = Catalogue::open().await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
    let body = Body::from_stream(futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    }));
    let router = catalogue.router.clone().layer(Extension(Principal::Operator));
    let request = tokio::spawn(router.oneshot(Request::post("/api/v1/songs").body(body).unwrap()));
    sender.send(Ok(Bytes::from(wav(1)))).await.unwrap();
    // The second chunk fits into the channel only when the first was taken: the upload has begun.
    sender.send(Ok(Bytes::from(wav(2)))).await.unwrap();
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    sender.send(Err(io::Error::other("gone"))).await.unwrap();
    // The upload lets go of its end when it has seen the error.
    sender.closed().await;
    let loose = Statement { name: "loose", text: "SELECT count(*) FROM loose_blobs" };
    loop {
        let mut tx = catalogue.db.read().await.unwrap();
        if tx.row(&loose, &[]).await.unwrap().unwrap().get::<i64>(0).unwrap() == 0 {
            break;
        }
        drop(tx);
        catalogue.db.reader().changed().await;
    }
    assert_eq!(catalogue.objects(), 0);
}

/// A commit that is on the disk, but whose answer is lost with the connection: it waits for a standby that is not there,
/// and is ended then.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_commit_was_not_told_keeps_its_file() {
    static SERVER: LazyLock<Postgres> = LazyLock::new(|| Postgres::start(Durability::Full));
    let catalogue = Catalogue::open_at(Some(SERVER.database())).await;
    let server = catalogue.server.as_ref().unwrap();
    server.execute_as_admin(
        "CREATE FUNCTION wait_for_standby() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM set_config('synchronous_commit', 'on', true); RETURN NEW; END $$",
    );
    server.execute_as_admin(
        "CREATE TRIGGER wait_for_standby AFTER INSERT ON songs FOR EACH ROW EXECUTE FUNCTION wait_for_standby()",
    );
    server.execute_as_admin("ALTER SYSTEM SET synchronous_commit = 'local'");
    server.execute_as_admin("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    server.execute_as_admin("SELECT pg_reload_conf()");
    let ended = async {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        while tokio::task::block_in_place(|| server.execute_as_admin(end)) == "0" {
            tokio::task::yield_now().await;
        }
    };
    let (answer, ()) = tokio::join!(catalogue.upload("a.wav", wav(1)), ended);
    assert_eq!(answer.0, 503, "{answer:?}");
    // The row is locked no more, and not only to who waits for no standby.
    server.execute_as_admin("ALTER SYSTEM RESET synchronous_standby_names");
    server.execute_as_admin("SELECT pg_reload_conf()");
    let (status, answer) = catalogue.upload("a.wav", wav(1)).await;
    assert_eq!((status, &answer["duplicate"]), (202, &json!(true)), "{answer}");
    assert_eq!(catalogue.objects(), 1, "the song's file");
    assert_eq!(catalogue.messages().await.len(), 1);
}

async fn the_sweep_removes_what_a_crash_left(on: Engine) {
    let catalogue = Catalogue::open_on(on).await;
    catalogue.upload("kept.wav", wav(1)).await;
    let one = futures::stream::iter([Ok(Bytes::from_static(b"half"))]);
    catalogue.blobs.put("songs/left", Box::pin(one)).await.unwrap();
    let mut tx = catalogue.db.write().await.unwrap();
    let left = Statement { name: "left", text: "INSERT INTO loose_blobs (blob, since) VALUES ('songs/left', $1)" };
    tx.execute(&left, &[catalogue.clock.now().into()]).await.unwrap();
    tx.commit().await.unwrap();
    let sweep = async || sweep(&catalogue.db, &*catalogue.blobs, &catalogue.clock).await.unwrap();
    assert_eq!(sweep().await, 0, "it may be an upload under way");
    catalogue.clock.advance(25 * 3_600 * SECOND);
    assert_eq!(sweep().await, 1);
    assert_eq!(sweep().await, 0);
    assert_eq!(catalogue.objects(), 1);
}

async fn songs_are_listed_searched_and_paged(on: Engine) {
    let catalogue = Catalogue::open_on(on).await;
    for (seed, name) in [(1, "Alpha.wav"), (2, "ÄLPHA bet.wav"), (3, "100%_sure!.wav"), (4, "beta.wav")] {
        assert_eq!(catalogue.upload(name, wav(seed)).await.0, 202);
        catalogue.clock.advance(1);
    }
    let titles = async |query: &str| {
        let (status, page) = catalogue.get(&format!("/api/v1/songs?{query}")).await;
        assert_eq!(status, 200, "{page}");
        let titles = page["items"].as_array().unwrap().iter().map(|song| song["title"].as_str().unwrap().to_owned());
        (titles.collect::<Vec<_>>(), page["next"].clone())
    };
    assert_eq!(titles("").await.0, ["beta", "100%_sure!", "ÄLPHA bet", "Alpha"]);
    assert_eq!(titles("query=%C3%A4lph").await.0, ["ÄLPHA bet"]);
    assert_eq!(titles("query=BET").await.0, ["beta", "ÄLPHA bet"]);
    for special in ["%25", "_", "!", "0%25_s"] {
        assert_eq!(titles(&format!("query={special}")).await.0, ["100%_sure!"], "{special}");
    }
    assert_eq!(titles("query=gamma").await.0, [""; 0]);
    let mut paged = Vec::new();
    let mut next = json!("");
    while let Some(cursor) = next.as_str().map(str::to_owned) {
        let cursor = if cursor.is_empty() { cursor } else { format!("&cursor={cursor}") };
        let (page, following) = titles(&format!("limit=1&query=bet{cursor}")).await;
        paged.extend(page);
        next = following;
    }
    assert_eq!(paged, ["beta", "ÄLPHA bet"]);
    for bad in ["limit=0", "limit=1001", "cursor=x", "quer=a"] {
        assert_eq!(catalogue.get(&format!("/api/v1/songs?{bad}")).await.0, 400, "{bad}");
    }
}

async fn the_analysis_says_how_it_went(on: Engine) {
    let catalogue = Catalogue::open_on(on).await;
    catalogue.upload("a.wav", wav(1)).await;
    let id = id_of(&wav(1));
    let path = format!("/api/v1/songs/{id}");
    let mut tx = catalogue.db.write().await.unwrap();
    assert!(song_exists(&mut tx, id).await.unwrap());
    assert!(!song_exists(&mut tx, id_of(b"")).await.unwrap());
    assert!(mark_failed(&mut tx, &catalogue.clock, id, "it is broken").await.unwrap());
    tx.commit().await.unwrap();
    let failed = catalogue.get(&path).await.1;
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("it is broken")));
    let mut tx = catalogue.db.write().await.unwrap();
    assert!(mark_stored(&mut tx, &catalogue.clock, id, 1_500_000).await.unwrap());
    assert!(!mark_failed(&mut tx, &catalogue.clock, id, "a late dead letter").await.unwrap());
    tx.commit().await.unwrap();
    let stored = catalogue.get(&path).await.1;
    assert_eq!((&stored["status"], &stored["duration"]), (&json!("stored"), &json!(1.5)));
    assert!(stored.get("reason").is_none() && stored.get("failed_at").is_none());
}

#[tokio::test]
async fn waiting_ends_when_the_song_is_stored() {
    let catalogue = Catalogue::open().await;
    catalogue.upload("a.wav", wav(1)).await;
    let id = id_of(&wav(1));
    let wait = async |seconds: &str| catalogue.get(&format!("/api/v1/songs/{id}?wait={seconds}")).await;
    assert_eq!(wait("0").await.1["status"], "accepted");
    assert_eq!(wait("0.02").await.1["status"], "accepted");
    for bad in ["31", "-1", "soon"] {
        assert_eq!(wait(bad).await.0, 400, "{bad}");
    }
    let store = async {
        let mut tx = catalogue.db.write().await.unwrap();
        mark_stored(&mut tx, &catalogue.clock, id, 1_000_000).await.unwrap();
        tx.commit().await.unwrap();
    };
    let (answer, ()) = futures::join!(wait("30"), store);
    assert_eq!(answer.1["status"], "stored");
}

async fn a_deleted_song_is_gone_with_all_that_belongs_to_it(on: Engine) {
    let catalogue = Catalogue::open_on(on).await;
    catalogue.upload("a.wav", wav(1)).await;
    let id = id_of(&wav(1));
    let path = format!("/api/v1/songs/{id}");
    let delete = async || catalogue.ask(Principal::Operator, Request::delete(&path), Body::empty()).await.status();
    assert_eq!(delete().await, 204);
    assert_eq!(delete().await, 404);
    assert_eq!(catalogue.get(&path).await.0, 404);
    assert_eq!(catalogue.get(&format!("{path}/audio")).await.0, 404);
    assert_eq!((catalogue.objects(), catalogue.forgotten.0.lock().unwrap().clone()), (0, vec![id]));
    assert_eq!(catalogue.upload("a.wav", wav(1)).await.1["duplicate"], false, "it can come back");
}

#[tokio::test]
async fn the_file_is_played_by_range() {
    let catalogue = Catalogue::open().await;
    catalogue.upload("a.wav", wav(1)).await;
    let path = format!("/api/v1/songs/{}/audio", id_of(&wav(1)));
    let play = async |headers: &[(&str, &str)]| {
        let mut request = Request::get(&path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = catalogue.ask(Principal::Public, request, Body::empty()).await;
        let (parts, body) = response.into_parts();
        (parts, axum::body::to_bytes(body, 1_000_000).await.unwrap().to_vec())
    };
    let (whole, bytes) = play(&[]).await;
    assert_eq!((whole.status.as_u16(), &bytes), (200, &wav(1)));
    assert_eq!(whole.headers["content-type"], "audio/wav");
    assert_eq!(whole.headers["content-length"], "2044");
    let etag = whole.headers["etag"].to_str().unwrap().to_owned();

    let (part, bytes) = play(&[("range", "bytes=100-199"), ("if-range", &etag)]).await;
    assert_eq!((part.status.as_u16(), bytes.as_slice()), (206, &wav(1)[100..200]));
    assert_eq!(part.headers["content-range"], "bytes 100-199/2044");
    let (beyond, _) = play(&[("range", "bytes=2044-")]).await;
    assert_eq!((beyond.status.as_u16(), &beyond.headers["content-range"]), (416, &"bytes */2044".parse().unwrap()));
    assert_eq!(play(&[("if-none-match", &etag)]).await.0.status, 304);
    assert_eq!(play(&[("range", "bytes=0-1"), ("if-range", "\"other\"")]).await.0.status, 200);
}

#[tokio::test]
async fn only_operators_change_songs_and_sensors_see_none() {
    let catalogue = Catalogue::open().await;
    catalogue.upload("a.wav", wav(1)).await;
    let path = format!("/api/v1/songs/{}", id_of(&wav(1)));
    let audio = format!("{path}/audio");
    let sensor = || Principal::Sensor(String::from("roof"));
    let cases = [
        (Principal::Reader, [200, 200, 200, 403, 403]),
        (Principal::Public, [200, 200, 200, 401, 401]),
        (sensor(), [403, 403, 403, 403, 403]),
    ];
    let requests =
        [("GET", "/api/v1/songs"), ("GET", &path), ("GET", &audio), ("POST", "/api/v1/songs"), ("DELETE", &path)];
    for (principal, statuses) in cases {
        for ((method, path), status) in requests.iter().zip(statuses) {
            let request = Request::builder().method(*method).uri(*path);
            let response = catalogue.ask(principal.clone(), request, Body::empty()).await;
            assert_eq!(response.status(), status, "{principal:?} {method} {path}");
        }
    }
    let unknown = catalogue.ask(sensor(), Request::get("/api/v1/songs/nonsense"), Body::empty()).await;
    assert_eq!(unknown.status(), 403, "a sensor's key learns nothing");
    assert_eq!(catalogue.get("/api/v1/songs/nonsense").await.0, 404);
}
