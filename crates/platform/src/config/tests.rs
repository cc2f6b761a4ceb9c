use super::*;

const TABLE: &[Setting] = &[
    setting("auth.public_reads", Kind::Boolean, "false"),
    setting("limits.requests_per_second", Kind::Number(0.001, 1_000_000.0), ""),
    setting("limits.recording_bytes", Kind::Integer(1, 1 << 30), "16777216"),
    setting("http.cors_origins", Kind::Texts, ""),
    setting("log.level", Kind::Text, "info"),
    Setting { key: "database.url", kind: Kind::Text, default: "", secret: false, help: "" },
    Setting { key: "mail.password", kind: Kind::Text, default: "", secret: true, help: "" },
];

const fn setting(key: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting { key, kind, default, secret: false, help: "" }
}

fn file(text: &str) -> Sources {
    Sources { file: Some((PathBuf::from("antiphon.toml"), text.to_owned())), ..Sources::default() }
}

fn environment(name: &str, value: &str) -> Sources {
    Sources { environment: vec![(name.to_owned(), value.to_owned())], ..Sources::default() }
}

fn fault(sources: &Sources) -> String {
    let Err(error) = Config::load(&[TABLE], sources) else { panic!("it loads") };
    assert_eq!(error.faults.len(), 1, "{error}");
    error.to_string()
}

#[test]
fn later_sources_go_over_earlier_ones() {
    let mut sources = file("[auth]\npublic_reads = true\n\n[log]\nlevel = \"warn\"\n");
    sources.environment.push((String::from("ANTIPHON_LOG__LEVEL"), String::from("debug")));
    let config = Config::load(&[TABLE], &sources).unwrap();
    assert!(config.boolean("auth.public_reads").unwrap());
    assert_eq!(config.origin("auth.public_reads").unwrap().to_string(), "antiphon.toml:2");
    assert_eq!(config.text("log.level").unwrap().as_deref(), Some("debug"));
    assert_eq!(config.integer("limits.recording_bytes").unwrap(), Some(16 << 20));
    assert_eq!(config.number("limits.requests_per_second").unwrap(), None);
    sources.flags.push(("--log", "log.level", String::from("trace")));
    let config = Config::load(&[TABLE], &sources).unwrap();
    assert_eq!(config.text("log.level").unwrap().as_deref(), Some("trace"));
    assert_eq!(config.origin("log.level").unwrap().to_string(), "option --log");
}

#[test]
fn every_form_of_toml_reaches_a_setting() {
    for text in ["limits.recording_bytes = 5", "[limits]\nrecording_bytes = 5", "limits = { recording_bytes = 5 }"] {
        let config = Config::load(&[TABLE], &file(text)).unwrap();
        assert_eq!(config.integer("limits.recording_bytes").unwrap(), Some(5), "{text}");
    }
    let config = Config::load(&[TABLE], &file("http.cors_origins = [\"https://a\", \"https://b\"]")).unwrap();
    assert_eq!(config.texts("http.cors_origins").unwrap(), ["https://a", "https://b"]);
    let config = Config::load(&[TABLE], &file("limits.requests_per_second = 3")).unwrap();
    assert_eq!(config.number("limits.requests_per_second").unwrap(), Some(3.0));
}

#[test]
fn faults_name_key_file_line_and_the_nearest_key() {
    let cases = [
        (
            "\n[auth]\npublic_raeds = true",
            "antiphon.toml:3: there is no setting auth.public_raeds; did you mean auth.public_reads?",
        ),
        ("[auht]\nx = 1", "antiphon.toml:1: there is no setting auht; did you mean auth?"),
        ("[auth]\npublic_reads = \"yes\"", "antiphon.toml:2: auth.public_reads must be true or false, not \"yes\""),
        (
            "limits.recording_bytes = 0",
            "antiphon.toml:1: limits.recording_bytes must be a whole number from 1 to 1073741824, not \"0\"",
        ),
        ("auth = true", "antiphon.toml:1: auth is a section, not a value: write [auth] above its settings"),
        (
            "http.cors_origins = [1]",
            "antiphon.toml:1: http.cors_origins must be an array of texts without commas, not array",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(fault(&file(text)), expected, "{text}");
    }
    let fault = fault(&file("[auth]\npublic_reads = tru\n"));
    assert!(fault.starts_with("antiphon.toml:2: this is no TOML: "), "{fault}");
}

#[test]
fn all_faults_are_told_at_once() {
    let Err(error) = Config::load(&[TABLE], &file("a = 1\nb = 2\n[log]\nlevel = 3")) else { panic!("it loads") };
    assert_eq!(error.faults.len(), 3, "{error}");
}

#[test]
fn variables_are_checked_too() {
    let unknown = fault(&environment("ANTIPHON_AUTH_PUBLIC_READS", "true"));
    assert!(unknown.ends_with("did you mean auth.public_reads (ANTIPHON_AUTH__PUBLIC_READS)?"), "{unknown}");
    let wrong = fault(&environment("ANTIPHON_AUTH__PUBLIC_READS", "yes"));
    assert!(wrong.contains("environment variable ANTIPHON_AUTH__PUBLIC_READS"), "{wrong}");
    for other in ["ANTIPHON_DATA", "ANTIPHON_SERVICE_HOST", "ANTIPHON_PORT_8470_TCP_ADDR", "HOME"] {
        assert!(Config::load(&[TABLE], &environment(other, "x")).is_ok(), "{other}");
    }
    assert_eq!(variable("auth.public_reads"), "ANTIPHON_AUTH__PUBLIC_READS");
}

#[test]
fn secrets_are_never_shown() {
    let mut sources = environment("ANTIPHON_MAIL__PASSWORD", "hunter2");
    let url = String::from("postgres://user:hunter2@host/name");
    sources.environment.push((String::from("ANTIPHON_DATABASE__URL"), url.clone()));
    let config = Config::load(&[TABLE], &sources).unwrap();
    assert_eq!(config.secret("mail.password").unwrap().unwrap().reveal(), "hunter2");
    assert_eq!(config.text("database.url").unwrap(), Some(url));
    let shown = serde_json::to_string(&config.show()).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("postgres://***@host/name"), "{shown}");
}

#[test]
fn a_secret_of_the_wrong_type_is_not_shown() {
    let fault = fault(&file("mail.password = [\"hunter2\"]"));
    assert!(!fault.contains("hunter2"), "{fault}");
}

#[test]
fn references_are_followed_when_asked() {
    let config = Config::load(&[TABLE], &environment("ANTIPHON_MAIL__PASSWORD", "env:CARGO_PKG_NAME")).unwrap();
    assert_eq!(config.secret("mail.password").unwrap().unwrap().reveal(), "antiphon-platform");
    let shown = config.show().into_iter().find(|shown| shown.key == "mail.password").unwrap();
    assert_eq!(shown.value, "env:CARGO_PKG_NAME");
    let config = Config::load(&[TABLE], &file("limits.recording_bytes = \"env:CARGO_PKG_NAME\"")).unwrap();
    assert!(config.check().unwrap_err().to_string().contains("must be a whole number"));
    let config = Config::load(&[TABLE], &file("mail.password = \"file:/does/not/exist\"")).unwrap();
    assert!(config.check().unwrap_err().to_string().contains("antiphon.toml:1: mail.password"));
}

#[test]
fn the_file_of_the_working_folder_goes_before_that_of_the_data_folder() {
    let (here, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(data.path().join(FILE_NAME), "log.level = \"data\"").unwrap();
    let (path, _) = Sources::find(here.path(), data.path()).unwrap().file.unwrap();
    assert!(path.starts_with(data.path()));
    std::fs::write(here.path().join(FILE_NAME), "log.level = \"here\"").unwrap();
    let (path, _) = Sources::find(here.path(), data.path()).unwrap().file.unwrap();
    assert!(path.starts_with(here.path()));
    std::fs::write(here.path().join(FILE_NAME), [0xff, 0xfe]).unwrap();
    assert!(Sources::find(here.path(), data.path()).is_err());
}
