//! What an address of S3 says: `s3://[KEY:SECRET@]BUCKET[/PREFIX][?endpoint=URL&region=NAME&...]`.

use std::time::Duration;

use object_store::aws::AwsCredential;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::aws::{is_region, server_url};

/// How long an answer is waited for, unless the address says otherwise.
const ANSWER: Duration = Duration::from_secs(7);

/// An address that was understood.
#[derive(Debug)]
pub(super) struct Location {
    pub bucket: String,
    /// Goes before every key: empty, or ends with `/`.
    pub prefix: String,
    /// Of a compatible server; `None`: Amazon's.
    pub endpoint: Option<Url>,
    pub region: Option<String>,
    /// Whether the bucket is part of the host name (`BUCKET.HOST`) instead of the path.
    pub virtual_host: Option<bool>,
    pub encryption: Option<Encryption>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// `None`: AWS's own places are asked.
    pub credential: Option<AwsCredential>,
}

/// What the server is told to encrypt with; else the bucket's own setting holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Keys of S3 itself.
    Aes256,
    /// A key of the key management service, by its id, or the account's own for S3.
    Kms(Option<String>),
}

impl Location {
    /// # Errors
    /// What is wrong, without anything that may be secret.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
        if url.scheme() != "s3" {
            return Err(String::from("it does not begin with s3://"));
        }
        let bucket = url.host_str().unwrap_or_default().to_owned();
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(letter) || url.port().is_some() {
            return Err(String::from("it names no bucket: write s3://BUCKET, and a server as ?endpoint=URL"));
        }
        let mut location = Self {
            bucket,
            prefix: prefix(url.path())?,
            endpoint: None,
            region: None,
            virtual_host: None,
            encryption: None,
            timeout: ANSWER,
            credential: credential(&url)?,
        };
        let mut kms_key = None;
        for (name, value) in url.query_pairs() {
            match (&*name, &*value) {
                ("endpoint", value) => location.endpoint = Some(endpoint(value)?),
                ("region", value) if is_region(value) => location.region = Some(value.to_owned()),
                ("style", "path") => location.virtual_host = Some(false),
                ("style", "virtual") => location.virtual_host = Some(true),
                ("encryption", "AES256") => location.encryption = Some(Encryption::Aes256),
                ("encryption", "kms") => location.encryption = Some(Encryption::Kms(None)),
                ("kms_key", value) if !value.is_empty() => kms_key = Some(value.to_owned()),
                ("timeout", value) => location.timeout = seconds(value)?,
                ("session_token", value) if value.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    match &mut location.credential {
                        Some(credential) => credential.token = Some(value.to_owned()),
                        None => return Err(String::from("session_token needs a key and a secret before the bucket")),
                    }
                }
                ("region" | "style" | "encryption" | "kms_key", _) => {
                    return Err(format!(
                        "{name} is region=NAME, style=path|virtual, encryption=AES256|kms, kms_key=ID"
                    ));
                }
                (_, _) => {
                    return Err(String::from(
                        "there are only the parameters endpoint, region, style, encryption, kms_key, timeout and \
                         session_token",
                    ));
                }
            }
        }
        location.encryption = match (location.encryption, kms_key) {
            (Some(Encryption::Kms(_)), key) => Some(Encryption::Kms(key)),
            (encryption, None) => encryption,
            (_, Some(_)) => return Err(String::from("kms_key needs encryption=kms")),
        };
        Ok(location)
    }

    /// Whether the bucket belongs into the host name: what the address says, else as Amazon wants it, where a bucket's
    /// name has no dots (its certificate covers one label).
    pub(super) fn is_virtual_host(&self, has_endpoint: bool) -> bool {
        self.virtual_host.unwrap_or(!has_endpoint && !self.bucket.contains('.'))
    }
}

fn credential(url: &Url) -> Result<Option<AwsCredential>, String> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| String::from("its key is not UTF-8"))?;
        // They travel in headers.
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if plain { Ok(text.into_owned()) } else { Err(String::from("its key or secret has letters that none has")) }
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) => Err(String::from("it has a secret but no key")),
        (_, None | Some("")) => Err(String::from("it has a key but no secret")),
        (key, Some(secret)) => {
            Ok(Some(AwsCredential { key_id: decoded(key)?, secret_key: decoded(secret)?, token: None }))
        }
    }
}

fn prefix(path: &str) -> Result<String, String> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte);
    let well_formed = path.len() <= 256
        && path.bytes().all(letter)
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    if well_formed {
        Ok(format!("{path}/"))
    } else {
        Err(String::from("its prefix has more than letters, digits and /_.-"))
    }
}

fn endpoint(text: &str) -> Result<Url, String> {
    server_url(text).ok_or_else(|| {
        let form = "its endpoint is http://HOST[:PORT] or https://HOST[:PORT]; key and secret go before the bucket";
        form.to_owned()
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| String::from("its timeout is no number of seconds"))?;
    if !(0.1..=300.0).contains(&seconds) {
        return Err(String::from("its timeout is not between 0.1 and 300 seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_address_is_understood() {
        let text = "s3://AK%2FX:se%2Fcret%25@bucket/some/prefix/?endpoint=http://127.0.0.1:8333&region=eu-central-1\
                    &style=path&encryption=kms&kms_key=alias/x&timeout=2.5&session_token=t";
        let location = Location::parse(text).unwrap();
        let credential = location.credential.as_ref().unwrap();
        assert_eq!((credential.key_id.as_str(), credential.secret_key.as_str()), ("AK/X", "se/cret%"));
        assert_eq!(credential.token.as_deref(), Some("t"));
        assert_eq!((location.bucket.as_str(), location.prefix.as_str()), ("bucket", "some/prefix/"));
        assert_eq!(location.endpoint.as_ref().unwrap().as_str(), "http://127.0.0.1:8333/");
        assert_eq!(location.region.as_deref(), Some("eu-central-1"));
        assert_eq!(location.encryption, Some(Encryption::Kms(Some(String::from("alias/x")))));
        assert_eq!(location.timeout, Duration::from_millis(2500));
        assert!(!location.is_virtual_host(true));
        assert!(!format!("{location:?}").contains("se/cret"));
        let plain = Location::parse("s3://bucket").unwrap();
        assert!(plain.credential.is_none() && plain.prefix.is_empty() && plain.is_virtual_host(false));
        assert!(!Location::parse("s3://bucket.with.dots").unwrap().is_virtual_host(false));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        let wrong = [
            "bucket",
            "http://marker:marker@bucket",
            "s3://",
            "s3:///prefix",
            "s3://marker@bucket",
            "s3://:marker@bucket",
            "s3://key:marker%0A@bucket",
            "s3://key:marker@bucket:99",
            "s3://key:marker@bucket/a//b",
            "s3://key:marker@bucket/a%20b",
            "s3://key:marker@bucket?endpoint=ftp://host",
            "s3://key:marker@bucket?endpoint=http://key:marker@host",
            "s3://key:marker@bucket?timeout=marker",
            "s3://key:marker@bucket?timeout=0",
            "s3://key:marker@bucket?marker=1",
            "s3://key:marker@bucket?style=marker",
            "s3://key:marker@bucket?encryption=marker",
            "s3://key:marker@bucket?kms_key=marker",
            "s3://bucket?session_token=marker",
        ];
        for text in wrong {
            let told = Location::parse(text).unwrap_err();
            assert!(!told.contains("marker"), "{text}: {told}");
        }
    }
}
