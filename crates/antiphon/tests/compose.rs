//! deploy/compose against the role table: every role is there, opens what its row permits and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    networks: BTreeMap<String, Network>,
    secrets: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Network {
    #[serde(default)]
    internal: bool,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    secrets: Vec<String>,
    networks: Vec<String>,
    #[serde(default)]
    read_only: bool,
}

fn compose() -> Compose {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/compose/compose.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The role table, as operators get it.
fn roles() -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon")).args(["roles", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The ports that a role of the table may open.
fn permitted(role: &Value) -> BTreeSet<&'static str> {
    let any = |names: &[&str]| names.iter().any(|name| role[name].as_array().is_some_and(|list| !list.is_empty()));
    let ports = [
        ("database", role["database"] != "none"),
        ("queue", any(&["publish", "consume", "consume_dead"])),
        ("blobs", role["blobs"] != "none"),
    ];
    ports.into_iter().filter(|(_, may)| *may).map(|(port, _)| port).collect()
}

#[test]
fn every_role_opens_what_its_row_permits_and_nothing_else() {
    let compose = compose();
    let mut cells = 0;
    for role in roles() {
        let name = role["name"].as_str().unwrap();
        if name == "job" {
            // `schedule` runs them.
            continue;
        }
        let service = &compose.services[name];
        assert!(service.image.starts_with("antiphon"), "{name}");
        assert_eq!(service.command[..2], ["run", name], "{name}");
        assert!(service.command.iter().any(|word| word == "--strict") && service.read_only, "{name}");
        let permitted = permitted(&role);
        for port in ["database", "queue", "blobs"] {
            let upper = port.to_uppercase();
            for field in ["URL", "USERNAME", "PASSWORD"] {
                let value = service.environment.get(&format!("ANTIPHON_{upper}__{field}"));
                assert_eq!(value.is_some(), permitted.contains(port), "{name}: {port} {field}");
                cells += 1;
            }
            assert_eq!(service.networks.iter().any(|network| network == port), permitted.contains(port), "{name}");
            cells += 1;
        }
        let account = name.replace('-', "_");
        assert_eq!(service.secrets, [format!("{account}_password")], "{name} gets its own secret only");
        for (key, value) in &service.environment {
            if key.ends_with("__USERNAME") {
                assert_eq!(*value, format!("antiphon_{account}"), "{name}");
            }
            if key.ends_with("__PASSWORD") {
                assert_eq!(*value, format!("file:/run/secrets/{account}_password"), "{name}");
            }
        }
        let outside = service.networks.iter().filter(|network| !compose.networks[*network].internal);
        let expected = usize::from(role["listens"] == true || ["receive", "notify"].contains(&name));
        assert_eq!(outside.count(), expected, "{name}: only what listens, receives or notifies reaches out");
    }
    assert!(cells > 100, "{cells} cells");
    println!("{cells} cells of role and connection");
}

#[test]
fn stores_are_private_and_secrets_are_files() {
    let compose = compose();
    for store in ["postgres", "objects"] {
        let service = &compose.services[store];
        assert!(service.networks.iter().all(|network| compose.networks[network].internal), "{store}");
    }
    for (name, secret) in &compose.secrets {
        assert_eq!(secret["file"], format!("./secrets/{name}"));
    }
    let used: BTreeSet<&String> = compose.services.values().flat_map(|service| &service.secrets).collect();
    assert_eq!(used, compose.secrets.keys().collect(), "every secret is declared, and used");
    for (name, service) in &compose.services {
        for (key, value) in &service.environment {
            let is_password = key.to_lowercase().contains("password");
            assert!(!is_password || value.contains("/run/secrets/"), "{name}: {key} is written out");
        }
    }
}
