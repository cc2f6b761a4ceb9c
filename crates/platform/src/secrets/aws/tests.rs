use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use antiphon_servers::{AwsApi, Fault, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::{REMEMBERED, SecretError, Secrets};
use super::*;
use crate::address::{Address, Freshness};
use crate::config::{Config, Kind, Setting, Sources};

fn environment(endpoint: &str) -> Vec<(String, String)> {
    [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "marker-secret"),
        ("AWS_ENDPOINT_URL", endpoint),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn secrets() -> Secrets {
    Secrets::with_environment(Some(environment(&AwsApi::shared().url())))
}

/// Tells the emulation something, as an operator would; its answer.
async fn tell(action: &str, body: Value) -> Value {
    let service = if action.starts_with("AmazonSSM") { "ssm" } else { "secretsmanager" };
    let (address, body) = (AwsApi::shared().address(), body.to_string());
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: {action}\r\nContent-Length: {}\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=operator/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

async fn put_secret(name: &str, value: &str) -> String {
    let made = tell("secretsmanager.CreateSecret", json!({ "Name": name, "SecretString": value })).await;
    made["ARN"].as_str().unwrap().to_owned()
}

async fn found(secrets: &Secrets, text: &str) -> String {
    secrets.look_up(text, Freshness::Cached).await.unwrap().reveal().to_owned()
}

#[tokio::test]
async fn references_lead_to_aws() {
    let secrets = secrets();
    let arn = put_secret("all/account", r#"{"username": "antiphon", "password": "p#w", "port": 5432}"#).await;
    assert_eq!(found(&secrets, "secretsmanager:all/account#password").await, "p#w");
    assert_eq!(found(&secrets, "secretsmanager:all/account#port").await, "5432");
    assert_eq!(found(&secrets, &format!("secretsmanager:{arn}#username")).await, "antiphon");
    assert!(found(&secrets, "secretsmanager:all/account").await.starts_with('{'));
    let binary = json!({ "Name": "all/binary", "SecretBinary": data_encoding::BASE64.encode("bytes".as_bytes()) });
    tell("secretsmanager.CreateSecret", binary).await;
    assert_eq!(found(&secrets, "secretsmanager:all/binary").await, "bytes");
    let parameter = json!({ "Name": "/all/token", "Value": "encrypted", "Type": "SecureString" });
    tell("AmazonSSM.PutParameter", parameter).await;
    assert_eq!(found(&secrets, "ssm:/all/token").await, "encrypted");
    // What was looked up can be had without waiting.
    assert_eq!(secrets.resolve("secretsmanager:all/account#username").unwrap().reveal(), "antiphon");
    assert!(matches!(secrets.resolve("ssm:/all/other"), Err(SecretError::NotLookedUp(_))));
}

#[tokio::test]
async fn a_rotated_secret_is_taken_up() {
    let secrets = secrets();
    put_secret("rotated/account", r#"{"username": "one", "password": "first"}"#).await;
    const TABLE: &[Setting] = &[
        Setting { key: "queue.url", kind: Kind::Text, default: "", secret: false, help: "" },
        Setting { key: "queue.username", kind: Kind::Text, default: "", secret: false, help: "" },
        Setting { key: "queue.password", kind: Kind::Text, default: "", secret: true, help: "" },
    ];
    let flags = [
        ("queue.url", "amqps://broker/%2f"),
        ("queue.username", "secretsmanager:rotated/account#username"),
        ("queue.password", "secretsmanager:rotated/account#password"),
    ];
    let flags = flags.map(|(key, value)| ("--set", key, value.to_owned())).to_vec();
    let config = Config::load(&[TABLE], &Sources { flags, ..Sources::default() }).unwrap().with_secrets(secrets);
    let early = config.text("queue.username").unwrap_err().to_string();
    assert!(early.contains("has not been looked up yet"), "{early}");
    config.look_up().await.unwrap();
    assert_eq!(config.text("queue.username").unwrap().unwrap(), "one");
    config.check().unwrap();
    let shown = serde_json::to_string(&config.show()).unwrap();
    assert!(shown.contains("secretsmanager:rotated/account#password") && !shown.contains("first"), "{shown}");
    let address = Address::of(&config, "queue").unwrap().unwrap();
    assert_eq!(address.current(Freshness::Cached).await.unwrap().reveal(), "amqps://one:first@broker/%2f");
    let new = json!({ "SecretId": "rotated/account", "SecretString": r#"{"username": "two", "password": "a/b"}"# });
    tell("secretsmanager.PutSecretValue", new).await;
    assert_eq!(address.current(Freshness::Cached).await.unwrap().reveal(), "amqps://one:first@broker/%2f");
    assert_eq!(address.current(Freshness::Now).await.unwrap().reveal(), "amqps://two:a%2Fb@broker/%2f");
    assert_eq!(address.current(Freshness::Cached).await.unwrap().reveal(), "amqps://two:a%2Fb@broker/%2f");
}

/// Makes what is remembered as old as that it must be asked for again.
fn age(secrets: &Secrets) {
    for remembered in secrets.remembered().values_mut() {
        remembered.since = remembered.since.checked_sub(REMEMBERED).unwrap();
    }
}

#[tokio::test]
async fn an_old_value_is_asked_for_again_and_kept_while_aws_is_away() {
    put_secret("away", "marker-value").await;
    let proxy = Proxy::start(AwsApi::shared().address());
    let secrets = Secrets::with_environment(Some(environment(&format!("http://{}", proxy.address()))));
    assert_eq!(found(&secrets, "secretsmanager:away").await, "marker-value");
    tell("secretsmanager.PutSecretValue", json!({ "SecretId": "away", "SecretString": "marker-newer" })).await;
    age(&secrets);
    assert_eq!(found(&secrets, "secretsmanager:away").await, "marker-newer");
    for fault in [Fault::Refuse, Fault::HalfOpen] {
        proxy.set(fault);
        age(&secrets);
        let begun = Instant::now();
        assert_eq!(found(&secrets, "secretsmanager:away").await, "marker-newer");
        let error = secrets.look_up("secretsmanager:away", Freshness::Now).await.unwrap_err();
        assert!(begun.elapsed() < WHOLE * 2 + WHOLE / 2, "{fault:?}: {:?}", begun.elapsed());
        let told = format!("{error} {error:?}");
        assert!(told.contains("secretsmanager:away") && !told.contains("marker"), "{told}");
        proxy.set(Fault::None);
        let back = async { while secrets.look_up("secretsmanager:away", Freshness::Now).await.is_err() {} };
        tokio::time::timeout(WHOLE, back).await.expect("it is back");
    }
    assert_eq!(found(&secrets, "secretsmanager:away").await, "marker-newer");
}

#[tokio::test]
async fn what_leads_nowhere_is_told_without_a_secret() {
    let secrets = secrets();
    put_secret("nowhere/account", r#"{"password": "marker"}"#).await;
    put_secret("nowhere/plain", "marker no json").await;
    let expected = [
        ("secretsmanager:nowhere/missing", "ResourceNotFoundException"),
        ("ssm:/nowhere/missing", "ParameterNotFound"),
        ("secretsmanager:nowhere/account#username", "no field username"),
        ("secretsmanager:nowhere/plain#username", "no field username"),
        ("secretsmanager:arn:aws:secretsmanager:no region:1:secret:x", "region"),
    ];
    for (text, reason) in expected {
        let error = secrets.look_up(text, Freshness::Cached).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains(reason) && !told.contains("marker"), "{text}: {told}");
    }
    for (name, value, reason) in [
        ("AWS_REGION", "", "set AWS_REGION"),
        ("AWS_REGION", "not a region", "region"),
        ("AWS_ENDPOINT_URL", "marker", "AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL", "http://user:marker@host", "AWS_ENDPOINT_URL"),
        ("AWS_SECRET_ACCESS_KEY", "", "SecretAccessKey"),
        ("AWS_SECRET_ACCESS_KEY", "marker\nmarker", "letters that none has"),
    ] {
        let mut environment = environment(&AwsApi::shared().url());
        environment.iter_mut().find(|(known, _)| known == name).unwrap().1 = value.to_owned();
        let secrets = Secrets::with_environment(Some(environment));
        let error = secrets.look_up("ssm:/nowhere/missing", Freshness::Cached).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains(reason) && !told.contains("marker"), "{name}={value}: {told}");
    }
}

#[tokio::test]
async fn many_who_wait_for_one_secret_ask_once() {
    put_secret("once", "value").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let counter = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut server = TcpStream::connect(AwsApi::shared().address()).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    let secrets = Secrets::with_environment(Some(environment(&format!("http://{address}"))));
    let look_ups = (0..20).map(|_| secrets.look_up("secretsmanager:once", Freshness::Cached));
    for value in futures::future::join_all(look_ups).await {
        assert_eq!(value.unwrap().reveal(), "value");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    counter.abort();
}

/// Gives credentials to pods, and to whoever has a web identity, as AWS does; what it was asked with.
async fn credential_server() -> (std::net::SocketAddr, Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let read = connection.read(&mut buffer).await.unwrap();
            let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
            seen.lock().unwrap().push_str(&request);
            let body = if request.contains("AssumeRoleWithWebIdentity") {
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                 <SessionToken>session</SessionToken><SecretAccessKey>marker</SecretAccessKey>\
                 <AccessKeyId>FROMWEB</AccessKeyId><Expiration>2099-01-01T00:00:00Z</Expiration>\
                 </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
                    .to_owned()
            } else {
                json!({
                    "AccessKeyId": "FROMPOD", "SecretAccessKey": "marker", "Token": "session",
                    "Expiration": "2099-01-01T00:00:00Z",
                })
                .to_string()
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            connection.write_all((head + &body).as_bytes()).await.unwrap();
            connection.shutdown().await.unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn pod_identity_and_web_identity_give_credentials() {
    put_secret("chain", "value").await;
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "pod-token").unwrap();
    let token_file = token_file.display().to_string();
    let api = AwsApi::shared().url();
    let (pod, asked) = credential_server().await;
    let base = [("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", &api)];
    let pod_url = format!("http://{pod}/v1/credentials");
    let by_pod = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", pod_url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token_file),
    ];
    let sts_url = format!("http://{pod}");
    let by_web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token_file.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/antiphon"),
        ("AWS_ENDPOINT_URL_STS", &sts_url),
    ];
    for variables in [&by_pod[..], &by_web[..]] {
        let all = base.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let secrets = Secrets::with_environment(Some(all.collect()));
        assert_eq!(found(&secrets, "secretsmanager:chain").await, "value");
    }
    let asked = asked.lock().unwrap();
    assert!(asked.to_lowercase().contains("authorization: pod-token"), "{asked}");
    assert!(asked.contains("WebIdentityToken=pod-token") && asked.contains("role%2Fantiphon"), "{asked}");
}
