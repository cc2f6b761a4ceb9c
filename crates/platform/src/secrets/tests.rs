use super::*;

#[test]
fn a_secret_is_never_shown() {
    let secret = Secret::new("hunter2");
    assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
    assert_eq!(secret.reveal(), "hunter2");
}

#[test]
fn references_lead_to_the_environment_and_to_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let reference = format!("file:{}", path.display());
    assert!(resolve(&reference).unwrap_err().to_string().contains("password"));
    std::fs::write(&path, "hunter2\n").unwrap();
    assert_eq!(resolve(&reference).unwrap().reveal(), "hunter2");
    std::fs::write(&path, "rotated\r\n").unwrap();
    assert_eq!(resolve(&reference).unwrap().reveal(), "rotated");
    assert_eq!(resolve("env:CARGO_PKG_NAME").unwrap().reveal(), "antiphon-platform");
    let error = resolve("env:ANTIPHON_TEST_NOT_SET").unwrap_err();
    assert!(error.to_string().contains("ANTIPHON_TEST_NOT_SET"));
    for plain in ["plain", "", "postgres://host/db#x", "a#b", "12:30"] {
        assert_eq!(resolve(plain).unwrap().reveal(), plain);
        assert!(!is_reference(plain), "{plain}");
    }
    for reference in ["env:X", "file:/x", "secretsmanager:x", "ssm:/x", "ssm:/x#field"] {
        assert!(is_reference(reference), "{reference}");
    }
}

#[test]
fn a_field_is_taken_of_a_json_object() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("account");
    std::fs::write(&path, r#"{"username": "antiphon", "port": 5432, "": "x", "list": ["marker"]}"#).unwrap();
    let place = format!("file:{}", path.display());
    assert_eq!(resolve(&format!("{place}#username")).unwrap().reveal(), "antiphon");
    assert_eq!(resolve(&format!("{place}#port")).unwrap().reveal(), "5432");
    for field in ["missing", "list"] {
        let told = resolve(&format!("{place}#{field}")).unwrap_err().to_string();
        assert!(told.contains(field) && told.contains(&place) && !told.contains("marker"), "{told}");
    }
    std::fs::write(&path, "marker no json").unwrap();
    let error = resolve(&format!("{place}#username")).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("marker"), "{error}");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    std::fs::write(&path, vec![b'm'; 70_000]).unwrap();
    let told = resolve(&format!("file:{}", path.display())).unwrap_err().to_string();
    assert!(told.contains("70000 bytes") && !told.contains("mmm"), "{told}");
}

#[tokio::test]
async fn what_is_kept_on_this_machine_needs_no_look_up() {
    let secrets = Secrets::default();
    assert_eq!(secrets.resolve("env:CARGO_PKG_NAME").unwrap().reveal(), "antiphon-platform");
    assert_eq!(secrets.look_up("plain", Freshness::Now).await.unwrap().reveal(), "plain");
    assert!(matches!(secrets.resolve("ssm:/x"), Err(SecretError::NotLookedUp(_))));
}

#[cfg(not(feature = "aws"))]
#[tokio::test]
async fn a_build_without_aws_says_so() {
    let told = Secrets::default().look_up("ssm:/x", Freshness::Cached).await.unwrap_err().to_string();
    assert!(told.contains("feature `s3`"), "{told}");
}
