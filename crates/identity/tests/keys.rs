//! Keys through the router: who gets in, who may do what, and when a revoked key stops.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use antiphon_identity::{
    Api, Keys, LocalToken, MIGRATIONS, Options, Principal, Role, STATEMENTS, authenticate, routes,
};
use antiphon_platform::clock::{Clock, SECOND};
use antiphon_platform::db::{Database, Engine};
use antiphon_platform::http::{ClientAddress, Problem};
use antiphon_platform::on_both_engines;
use antiphon_servers::Postgres;
use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

struct Server {
    folder: tempfile::TempDir,
    db: Database,
    clock: Clock,
    keys: Keys,
    router: Router,
    /// Last, so that connections are closed before it goes.
    _server: Option<antiphon_servers::Database<'static>>,
}

impl Server {
    async fn start(options: &Options<'_>) -> Self {
        Self::start_on(Engine::Sqlite, options).await
    }

    async fn start_on(engine: Engine, options: &Options<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = (engine == Engine::Postgres).then(|| Postgres::shared().database());
        let file = || format!("sqlite:{}", folder.path().join("antiphon.db").display());
        let url = server.as_ref().map_or_else(file, antiphon_servers::Database::url);
        let db = Database::open(url, MIGRATIONS).await.unwrap();
        let clock = Clock::manual(1_777_593_600 * SECOND);
        let keys = Keys::new(db.reader(), clock.clone(), options);
        let router = router(&db, &keys, &clock);
        Self { folder, db, clock, keys, router, _server: server }
    }

    async fn key(&self, role: Role) -> String {
        let mut tx = self.db.write().await.unwrap();
        let key = antiphon_identity::create_key(&mut tx, &self.clock, &role).await.unwrap();
        tx.commit().await.unwrap();
        key.key
    }

    async fn send(&self, method: &str, path: &str, key: &str, body: Body) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    async fn status(&self, method: &str, path: &str, key: &str) -> u16 {
        self.send(method, path, key, Body::empty()).await.status().as_u16()
    }

    async fn json(&self, method: &str, path: &str, key: &str, body: Value) -> (u16, Value) {
        let response = self.send(method, path, key, Body::from(body.to_string())).await;
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 1_000_000).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

/// The key routes, and one route for each question that other crates ask.
fn router(db: &Database, keys: &Keys, clock: &Clock) -> Router {
    async fn read(principal: Principal) -> Result<StatusCode, Problem> {
        principal.may_read().map(|()| StatusCode::NO_CONTENT)
    }
    async fn roof(principal: Principal) -> Result<StatusCode, Problem> {
        principal.may_read_sensor("roof").map(|()| StatusCode::NO_CONTENT)
    }
    async fn add_to_roof(principal: Principal) -> Result<StatusCode, Problem> {
        principal.may_add_to("roof").map(|()| StatusCode::NO_CONTENT)
    }
    let api = Api { db: db.clone(), keys: keys.clone(), clock: clock.clone() };
    Router::from(routes(api))
        .route("/read", get(read))
        .route("/roof", get(roof).post(add_to_roof))
        .layer(from_fn_with_state(keys.clone(), authenticate))
}

on_both_engines! {
    every_statement_prepares,
    keys_are_made_listed_and_revoked,
    the_keys_of_a_deleted_sensor_stop,
}

async fn every_statement_prepares(on: Engine) {
    let server = Server::start_on(on, &Options::default()).await;
    server.db.reader().prepare_all(STATEMENTS).await.unwrap();
}

async fn keys_are_made_listed_and_revoked(on: Engine) {
    let server = Server::start_on(on, &Options::default()).await;
    let operator = server.key(Role::Operator).await;
    server.clock.advance(SECOND);
    let (status, made) = server.json("POST", "/api/v1/keys", &operator, json!({"role": "reader"})).await;
    assert_eq!(status, 201);
    let (id, reader) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(reader.starts_with("ak_") && reader.len() == 55, "{reader}");
    assert_eq!(server.status("GET", "/read", reader).await, 204);

    let (_, first) = server.json("GET", "/api/v1/keys?limit=1", &operator, Value::Null).await;
    assert_eq!(first["items"][0]["role"], "operator");
    let next = format!("/api/v1/keys?cursor={}", first["next"].as_str().unwrap());
    let (_, second) = server.json("GET", &next, &operator, Value::Null).await;
    assert_eq!(second["next"], Value::Null);
    assert_eq!(second["items"][0], json!({"id": id, "role": "reader", "created_at": "2026-05-01T00:00:01.000000Z"}));

    let path = format!("/api/v1/keys/{id}");
    assert_eq!(server.status("DELETE", &path, &operator).await, 204);
    assert_eq!(server.status("GET", "/read", reader).await, 401, "at once in the same process");
    assert_eq!(server.status("DELETE", &path, &operator).await, 404);
}

#[tokio::test]
async fn without_a_valid_key_nothing_is_told() {
    let server = Server::start(&Options::default()).await;
    for (method, path) in [("GET", "/read"), ("POST", "/roof"), ("GET", "/api/v1/keys"), ("DELETE", "/api/v1/keys/x")] {
        for key in ["", "ak_wrong"] {
            let response = server.send(method, path, key, Body::from("rubbish")).await;
            assert_eq!(response.status(), 401, "{method} {path} {key:?}");
            assert!(response.headers().contains_key("www-authenticate"));
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
    }
    let basic = Request::get("/read").header("authorization", "Basic YTpi").body(Body::empty()).unwrap();
    assert_eq!(server.router.clone().oneshot(basic).await.unwrap().status(), 401);
}

#[tokio::test]
async fn each_role_may_what_it_may() {
    let server = Server::start(&Options::default()).await;
    let operator = server.key(Role::Operator).await;
    let reader = server.key(Role::Reader).await;
    let roof = server.key(Role::Sensor("roof".into())).await;
    let river = server.key(Role::Sensor("river".into())).await;
    let requests = [("GET", "/read"), ("GET", "/roof"), ("POST", "/roof"), ("GET", "/api/v1/keys")];
    let expected = [
        (&operator, [204, 204, 204, 200]),
        (&reader, [204, 204, 403, 403]),
        (&roof, [403, 204, 204, 403]),
        (&river, [403, 403, 403, 403]),
    ];
    for (key, statuses) in expected {
        for ((method, path), status) in requests.iter().zip(statuses) {
            assert_eq!(server.status(method, path, key).await, status, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn refusals_come_before_the_body_is_judged() {
    let server = Server::start(&Options::default()).await;
    let operator = server.key(Role::Operator).await;
    let sensor = server.key(Role::Sensor("roof".into())).await;
    for (key, status) in [(&sensor, 403), (&operator, 400)] {
        for body in [json!({"role": "king"}), json!({"rool": "reader"}), json!([])] {
            assert_eq!(server.json("POST", "/api/v1/keys", key, body).await.0, status);
        }
    }
    let (_, problem) = server.json("POST", "/api/v1/keys", &operator, json!({"role": "sensor"})).await;
    assert_eq!(problem["field"], "role");
    assert!(problem["hint"].as_str().unwrap().contains("/sensors/"));
}

#[tokio::test]
async fn public_reads_open_reading_only() {
    let server = Server::start(&Options { public_reads: true, ..Options::default() }).await;
    assert_eq!(server.status("GET", "/read", "").await, 204);
    assert_eq!(server.status("HEAD", "/read", "").await, 204);
    assert_eq!(server.status("POST", "/roof", "").await, 401);
    assert_eq!(server.status("GET", "/api/v1/keys", "").await, 401, "keys always need one");
    assert_eq!(server.status("GET", "/read", "ak_wrong").await, 401, "a wrong key is not no key");
}

#[tokio::test]
async fn another_process_stops_a_revoked_key_within_a_minute() {
    let server = Server::start(&Options::default()).await;
    let reader = server.key(Role::Reader).await;
    let elsewhere = Keys::new(server.db.reader(), server.clock.clone(), &Options::default());
    let there = router(&server.db, &elsewhere, &server.clock);
    let ask = async || {
        let request = Request::get("/read").header("authorization", format!("Bearer {reader}"));
        there.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
    };
    assert_eq!(ask().await, 204);
    let mut tx = server.db.write().await.unwrap();
    let id = antiphon_identity::list_keys(&mut tx, "", 10).await.unwrap()[0].id.clone();
    assert!(antiphon_identity::revoke_key(&mut tx, &server.clock, &id).await.unwrap());
    tx.commit().await.unwrap();
    server.keys.forget();
    assert_eq!(server.status("GET", "/read", &reader).await, 401);
    assert_eq!(ask().await, 204, "remembered");
    server.clock.advance(60 * SECOND);
    assert_eq!(ask().await, 401);
}

#[tokio::test]
async fn known_keys_outlive_the_database_for_a_minute() {
    let server = Server::start(&Options::default()).await;
    let reader = server.key(Role::Reader).await;
    assert_eq!(server.status("GET", "/read", &reader).await, 204);
    let mut tx = server.db.write().await.unwrap();
    tx.execute(&antiphon_platform::db::Statement { name: "break", text: "ALTER TABLE api_keys RENAME TO gone" }, &[])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    server.clock.advance(11 * SECOND);
    assert_eq!(server.status("GET", "/read", &reader).await, 204);
    assert!(
        server.status("GET", "/read", &format!("ak_{}", "b".repeat(52))).await >= 500,
        "a key that is not known cannot be looked up"
    );
    server.clock.advance(50 * SECOND);
    assert!(server.status("GET", "/read", &reader).await >= 500);
}

async fn the_keys_of_a_deleted_sensor_stop(on: Engine) {
    let server = Server::start_on(on, &Options::default()).await;
    let roof = server.key(Role::Sensor("roof".into())).await;
    let river = server.key(Role::Sensor("river".into())).await;
    assert_eq!(server.status("POST", "/roof", &roof).await, 204);
    let mut tx = server.db.write().await.unwrap();
    let listed = antiphon_identity::list_sensor_keys(&mut tx, "roof", "", 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    let other = antiphon_identity::revoke_sensor_key(&mut tx, &server.clock, "river", &listed[0].id).await.unwrap();
    assert!(!other, "a sensor's route revokes only that sensor's keys");
    assert_eq!(antiphon_identity::revoke_sensor(&mut tx, &server.clock, "roof").await.unwrap(), 1);
    tx.commit().await.unwrap();
    server.keys.forget();
    assert_eq!(server.status("POST", "/roof", &roof).await, 401);
    assert_eq!(server.status("POST", "/roof", &river).await, 403);
}

#[tokio::test]
async fn guessing_is_slowed_down_without_locking_anybody_out() {
    let server = Server::start(&Options::default()).await;
    let reader = server.key(Role::Reader).await;
    for guess in ["ak_short", &format!("ak_{}", "a".repeat(52))] {
        assert_eq!(server.status("GET", "/read", guess).await, 401);
        for _ in 0..30 {
            server.status("GET", "/read", guess).await;
        }
        let response = server.send("GET", "/read", guess, Body::empty()).await;
        assert_eq!(response.status(), 429);
        for header in ["retry-after", "ratelimit", "ratelimit-policy"] {
            assert!(response.headers().contains_key(header), "{header}");
        }
        assert_eq!(server.status("GET", "/read", &reader).await, 204);
        server.clock.advance(60 * SECOND);
    }
}

#[tokio::test]
async fn one_key_may_be_limited() {
    let server = Server::start(&Options { requests_per_second: Some(2.0), ..Options::default() }).await;
    let (one, other) = (server.key(Role::Reader).await, server.key(Role::Reader).await);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(server.status("GET", "/read", &one).await);
    }
    assert_eq!(statuses, [204, 204, 429]);
    assert_eq!(server.status("GET", "/read", &other).await, 204);
}

#[tokio::test]
async fn the_local_token_opens_to_the_loopback_only() {
    let folder = tempfile::tempdir().unwrap();
    let token = LocalToken::create(folder.path()).unwrap();
    let server = Server::start(&Options { local_token: Some(&token), ..Options::default() }).await;
    let text = std::fs::read_to_string(folder.path().join("token")).unwrap();
    for (peer, status) in
        [("127.0.0.1:5000", 200), ("[::1]:5000", 200), ("[::ffff:127.0.0.1]:5000", 200), ("192.0.2.7:5000", 401)]
    {
        let peer: SocketAddr = peer.parse().unwrap();
        let mut request = Request::get("/api/v1/keys").header("authorization", format!("bearer {text}"));
        request.extensions_mut().unwrap().insert(ClientAddress(Some(peer)));
        let response = server.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{peer}");
    }
    assert_eq!(server.status("GET", "/api/v1/keys", &text).await, 401, "a peer that is not known is not local");
}

#[tokio::test]
async fn no_key_is_stored_as_it_is() {
    let server = Server::start(&Options::default()).await;
    let key = server.key(Role::Operator).await;
    assert!(antiphon_identity::has_operator(&mut server.db.read().await.unwrap()).await.unwrap());
    for file in std::fs::read_dir(server.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()));
    }
}
