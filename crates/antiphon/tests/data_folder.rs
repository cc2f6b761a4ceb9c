//! Data folders and configurations that cannot be used: said clearly, ended with 2, nothing damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::path::Path;

use support::{Client, command, contents, start, try_start};

const UP: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

/// Starts `up` and expects it to refuse with 2; what it said.
fn refusal(data: &Path, environment: &[(&str, &str)]) -> String {
    match try_start(data, &UP, environment) {
        Ok(_) => panic!("it started"),
        Err(log) => {
            assert!(log.contains("exit status: 2"), "{log}");
            log
        }
    }
}

#[test]
fn a_folder_written_by_a_newer_version_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(start(&data, &UP, &[]).stop().success());
    std::fs::write(data.join("VERSION"), "99\n").unwrap();
    let before = contents(&data, &[]);
    let said = refusal(&data, &[]);
    assert!(said.contains("newer"), "{said}");
    assert_eq!(contents(&data, &[]), before);
}

#[test]
fn a_first_start_names_the_folder_that_it_made_and_a_folder_of_music_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &UP, &[]);
    let made = format!("made a new, empty data folder: {}", data.canonicalize().unwrap().display());
    assert!(up.log().contains(&made), "{}", up.log());
    assert!(up.stop().success());
    let again = start(&data, &UP, &[]);
    assert!(!again.log().contains("made a new"), "{}", again.log());

    let music = folder.path().join("Music");
    std::fs::create_dir(&music).unwrap();
    std::fs::write(music.join("song.flac"), "fLaC").unwrap();
    let before = contents(&music, &[]);
    let said = refusal(&music, &[]);
    assert!(said.contains("song.flac") && said.contains("--data"), "{said}");
    assert_eq!(contents(&music, &[]), before);
}

#[test]
fn an_address_without_its_port_is_told_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    match try_start(&folder.path().join("data"), &["up", "--listen", "0.0.0.0"], &[]) {
        Ok(_) => panic!("it started"),
        Err(log) => assert!(log.contains("such as 0.0.0.0:8470"), "{log}"),
    }
    let up = start(&folder.path().join("data"), &["up", "--listen", "0.0.0.0:0"], &[]);
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while !up.log().contains("from other machines: http://") {
        assert!(std::time::Instant::now() < deadline, "{}", up.log());
        std::thread::yield_now();
    }
}

#[test]
fn a_folder_that_another_machine_uses_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(start(&data, &UP, &[]).stop().success());
    let other = serde_json::json!({ "boot": "another-boot", "machine": "another-machine", "name": "attic", "pid": 7 });
    let mark = data.join("run/process-7-0");
    std::fs::write(&mark, other.to_string()).unwrap();
    let said = refusal(&data, &[]);
    assert!(said.contains("attic"), "{said}");
    // When the other machine has left, it starts.
    std::fs::remove_file(mark).unwrap();
    assert!(start(&data, &UP, &[]).stop().success());
}

#[test]
fn a_database_that_is_none_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("antiphon.db"), "this is a shopping list, not a database".repeat(100)).unwrap();
    let before = std::fs::read(data.join("antiphon.db")).unwrap();
    let said = refusal(&data, &[]);
    assert!(said.contains("database"), "{said}");
    assert_eq!(std::fs::read(data.join("antiphon.db")).unwrap(), before);
}

#[test]
fn two_processes_of_one_machine_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let one = start(&data, &UP, &[]);
    let other = start(&data, &["run", "query", "--listen", "127.0.0.1:0"], &[]);
    let client = Client::operator(&data);
    for process in [&one, &other] {
        assert_eq!(client.get(&format!("{}/api/v1/sensors", process.url())).unwrap().status, 200);
    }
}

#[test]
fn the_operator_key_and_the_local_token_are_private_and_the_token_goes_with_the_process() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &UP, &[]);
    for file in ["operator.key", "run/token"] {
        let mode = std::fs::metadata(data.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let key = std::fs::read_to_string(data.join("operator.key")).unwrap();
    assert!(!up.log().contains(key.trim()), "the key is in the log");
    let output = command(&data, &["sensor", "list", "--json"], &[]).output().unwrap();
    assert!(output.status.success(), "beside a running `up` no option is needed: {output:?}");
    assert!(up.stop().success());
    assert!(!data.join("run/token").exists());
    // A second start makes no second key.
    let up = start(&data, &UP, &[]);
    assert_eq!(std::fs::read_to_string(data.join("operator.key")).unwrap(), key);
    drop(up);
}

#[test]
fn configuration_errors_name_key_file_and_line_and_the_nearest_key() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (text, words) in [
        ("[auth]\npublic_raeds = true\n", ["antiphon.toml", "2", "auth.public_raeds", "auth.public_reads"]),
        ("[limits]\n\nrecording_bytes = \"many\"\n", ["antiphon.toml", "3", "limits.recording_bytes", "many"]),
        ("[http]\nlisten = \n", ["antiphon.toml", "2", "", ""]),
    ] {
        std::fs::write(folder.path().join("antiphon.toml"), text).unwrap();
        let said = refusal(&data, &[]);
        for word in words {
            assert!(said.contains(word), "{word:?} is missing in {said}");
        }
        let check = command(&data, &["config", "check"], &[]).output().unwrap();
        assert_eq!(check.status.code(), Some(2), "{check:?}");
    }
    std::fs::remove_file(folder.path().join("antiphon.toml")).unwrap();
    let said = refusal(&data, &[("ANTIPHON_AUTH__PUBLIC_RAEDS", "true")]);
    assert!(said.contains("ANTIPHON_AUTH__PUBLIC_RAEDS") && said.contains("auth.public_reads"), "{said}");
    assert!(!data.exists(), "a refused configuration left a data folder");
}

#[test]
fn public_reads_need_no_key_but_keys_and_dead_letters_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &UP, &[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let nobody = Client::new("");
    let status = |path: &str| nobody.get(&format!("{}{path}", up.url())).unwrap().status;
    assert_eq!(status("/api/v1/sensors"), 200);
    assert_eq!(status("/api/v1/dead-letters"), 401);
    assert_eq!(status("/api/v1/keys"), 401);
    for open in ["/livez", "/readyz", "/api/health", "/metrics", "/docs", "/api/v1/openapi.json"] {
        assert_eq!(status(open), 200, "{open}");
    }
}

#[test]
fn a_second_up_is_told_where_the_first_one_is_and_disturbs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut first = start(&data, &UP, &[]);
    let announced =
        || (std::fs::read(data.join("run/server")).unwrap(), std::fs::read(data.join("run/token")).unwrap());
    let before = announced();
    let said = refusal(&data, &[]);
    assert!(said.contains("already running") && said.contains(first.url()), "{said}");
    assert_eq!(announced(), before);
    // Commands beside it still get in by the token.
    assert!(command(&data, &["sensor", "list"], &[]).status().unwrap().success());
    // Whose holder is dead is free.
    first.kill();
    let second = start(&data, &UP, &[]);
    assert!(command(&data, &["sensor", "list"], &[]).status().unwrap().success());
    assert!(second.stop().success());
    assert!(!data.join("run/server").exists() && !data.join("run/token").exists());
}

#[test]
fn of_two_apis_on_one_folder_one_is_announced() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    const API: [&str; 4] = ["run", "api", "--listen", "127.0.0.1:0"];
    let (first, second) = (start(&data, &API, &[]), start(&data, &API, &[]));
    let announced = || std::fs::read_to_string(data.join("run/server")).unwrap();
    assert_eq!(announced(), first.url());
    let operator = Client::operator(&data);
    for api in [&first, &second] {
        assert_eq!(operator.get(&format!("{}/api/v1/sensors", api.url())).unwrap().status, 200);
    }
    assert!(second.stop().success());
    assert_eq!(announced(), first.url());
    assert!(command(&data, &["sensor", "list"], &[]).status().unwrap().success());
    assert!(refusal(&data, &[]).contains(first.url()));
    assert!(first.stop().success());
}
