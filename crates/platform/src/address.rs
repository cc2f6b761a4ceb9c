//! Where an engine is reached: an address with its credentials, looked up again for each new connection, so that rotated
//! credentials are taken up without a restart.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::{Config, ConfigError};
use crate::secrets::{self, Secret, SecretError};

/// What knows an address now.
type LookUp = dyn Fn(Freshness) -> BoxFuture<'static, Result<Secret, SecretError>> + Send + Sync;

/// How sure the caller must be that nothing was rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// What was looked up a short while ago will do.
    Cached,
    /// The engine has refused what was looked up before: ask where it is kept.
    Now,
}

/// An engine's address with its credentials. Never shown.
#[derive(Clone)]
pub struct Address {
    look_up: Arc<LookUp>,
}

impl Address {
    /// An address that `look_up` finds each time.
    pub fn new(
        look_up: impl Fn(Freshness) -> BoxFuture<'static, Result<Secret, SecretError>> + Send + Sync + 'static,
    ) -> Self {
        Self { look_up: Arc::new(look_up) }
    }

    /// An address that never changes.
    #[must_use]
    pub fn fixed(url: impl Into<String>) -> Self {
        let url = Secret::new(url);
        Self::new(move |_| Box::pin(std::future::ready(Ok(url.clone()))))
    }

    /// The address that a section of the configuration gives: its settings `url`, and `username` and `password`, if they
    /// are declared and set, which go into the URL in place of its own. Each may be a reference, and is looked up again
    /// for each new connection. `None` when `url` is not set.
    ///
    /// # Errors
    /// [`ConfigError`] when `url` is not declared, or a user name has no place in it.
    pub fn of(config: &Config, section: &str) -> Result<Option<Self>, ConfigError> {
        let key = |name: &str| format!("{section}.{name}");
        let url = config.said(&key("url"))?.to_owned();
        if url.is_empty() {
            return Ok(None);
        }
        let optional = |name: &str| {
            let said = config.said(&key(name)).ok().filter(|text| !text.is_empty());
            said.map(str::to_owned)
        };
        let (username, password) = (optional("username"), optional("password"));
        let separate = username.is_some() || password.is_some();
        if separate && !secrets::is_reference(&url) && !url.contains("://") {
            let origin = config.origin(&key("url"))?;
            let fault = format!("{origin}: {section}.url needs a :// for {section}.username and {section}.password");
            return Err(fault.into());
        }
        let secrets = config.secrets().clone();
        let parts = Arc::new((url, username, password));
        Ok(Some(Self::new(move |freshness| {
            let (secrets, parts) = (secrets.clone(), Arc::clone(&parts));
            Box::pin(async move {
                let (url, username, password) = &*parts;
                // Of one moment, so that fields of one secret belong together.
                let since = secrets::oldest(freshness);
                let url = secrets.look_up_since(url, since).await?;
                if !separate {
                    return Ok(url);
                }
                let mut found = [None, None];
                for (found, text) in found.iter_mut().zip([username, password]) {
                    if let Some(text) = text {
                        *found = Some(secrets.look_up_since(text, since).await?);
                    }
                }
                let [username, password] = found;
                with_credentials(&url, username.as_ref(), password.as_ref()).ok_or(SecretError::Address)
            })
        })))
    }

    /// The address for a new connection; [`Freshness::Now`] after the engine refused the credentials of the last one.
    ///
    /// # Errors
    /// [`SecretError`] when a reference in it leads nowhere.
    pub async fn current(&self, freshness: Freshness) -> Result<Secret, SecretError> {
        (self.look_up)(freshness).await
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl From<&str> for Address {
    fn from(url: &str) -> Self {
        Self::fixed(url)
    }
}

impl From<&String> for Address {
    fn from(url: &String) -> Self {
        Self::fixed(url.as_str())
    }
}

impl From<String> for Address {
    fn from(url: String) -> Self {
        Self::fixed(url)
    }
}

/// What stands for itself in the user information of a URL (RFC 3986, section 2.3); all else is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `url` with a user name or password in place of its own; `None` when it has no place for them.
fn with_credentials(url: &Secret, username: Option<&Secret>, password: Option<&Secret>) -> Option<Secret> {
    let (scheme, rest) = url.reveal().split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user_information, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (own_username, own_password) = match user_information.split_once(':') {
        Some((username, password)) => (username, Some(password)),
        None => (user_information, None),
    };
    let encoded = |secret: &Secret| utf8_percent_encode(secret.reveal(), ENCODED).to_string();
    let username = username.map_or_else(|| own_username.to_owned(), encoded);
    let password = password.map(encoded).or_else(|| own_password.map(str::to_owned));
    let password = password.map(|password| format!(":{password}")).unwrap_or_default();
    Some(Secret::new(format!("{scheme}://{username}{password}@{host}{path}")))
}

/// A URL as errors and listings may show it: without user name and password, and without the values of parameters that
/// are secret by their name. A text that is no URL is given back, unless it has an `@`, which may end a password.
#[must_use]
pub fn redacted(url: &str) -> String {
    const SECRET: [&str; 5] = ["password", "secret", "token", "signature", "credential"];
    let (front, query) = url.split_once('?').map_or((url, None), |(front, query)| (front, Some(query)));
    let (scheme, rest) = front.split_once("://").map_or(("", front), |(scheme, rest)| (scheme, rest));
    // A password with a / or ? that is not encoded ends the authority early; so everything up to the last @ is hidden.
    let (hidden_in_query, query) = match query.and_then(|query| query.rsplit_once('@')) {
        Some((_, after)) => (true, Some(after)),
        None => (false, query),
    };
    let mut shown = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    match rest.rsplit_once('@') {
        _ if hidden_in_query => {
            shown.push_str("***@");
            shown.push_str(query.unwrap_or_default());
            return shown;
        }
        Some((_, host)) => {
            shown.push_str("***@");
            shown.push_str(host);
        }
        None => shown.push_str(rest),
    }
    let Some(query) = query else { return shown };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if SECRET.iter().any(|word| name.to_ascii_lowercase().contains(word)) => format!("{name}=***"),
        _ => parameter.to_owned(),
    });
    format!("{shown}?{}", parameters.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Kind, Setting, Sources};

    #[tokio::test]
    async fn an_address_is_looked_up_again_and_never_shown() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let address = Address::new(move |_| {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { Ok(Secret::new(format!("postgres://antiphon:pass{number}@host/db"))) })
        });
        assert_eq!(address.current(Freshness::Cached).await.unwrap().reveal(), "postgres://antiphon:pass0@host/db");
        assert_eq!(address.current(Freshness::Now).await.unwrap().reveal(), "postgres://antiphon:pass1@host/db");
        assert_eq!(format!("{address:?}"), "***");
    }
    fn table() -> &'static [Setting] {
        const fn setting(key: &'static str) -> Setting {
            Setting { key, kind: Kind::Text, default: "", secret: false, help: "" }
        }
        const TABLE: &[Setting] = &[
            setting("database.url"),
            setting("database.username"),
            setting("database.password"),
            setting("queue.url"),
        ];
        TABLE
    }

    fn config(settings: &[(&'static str, &str)]) -> Config {
        let flags = settings.iter().map(|(key, value)| ("--set", *key, (*value).to_owned())).collect();
        Config::load(&[table()], &Sources { flags, ..Sources::default() }).unwrap()
    }

    async fn current(settings: &[(&'static str, &str)]) -> String {
        let address = Address::of(&config(settings), "database").unwrap().unwrap();
        address.current(Freshness::Cached).await.unwrap().reveal().to_owned()
    }

    #[tokio::test]
    async fn a_section_gives_its_url_with_user_name_and_password() {
        assert!(Address::of(&config(&[]), "database").unwrap().is_none());
        assert!(Address::of(&config(&[]), "blobs").is_err());
        assert_eq!(current(&[("database.url", "postgres://host/db")]).await, "postgres://host/db");
        let merged = current(&[
            ("database.url", "postgres://old:older@host:5432/db?sslmode=require"),
            ("database.username", "anti@phon"),
            ("database.password", "p:a/s?s#%41@"),
        ]);
        let expected = "postgres://anti%40phon:p%3Aa%2Fs%3Fs%23%2541%40@host:5432/db?sslmode=require";
        assert_eq!(merged.await, expected);
        let kept = current(&[("database.url", "postgres://user:old@host"), ("database.password", "new")]);
        assert_eq!(kept.await, "postgres://user:new@host");
        let wrong = config(&[("database.url", "sqlite:db"), ("database.password", "marker")]);
        let told = Address::of(&wrong, "database").unwrap_err().to_string();
        assert!(told.contains("database.url needs a ://") && !told.contains("marker"), "{told}");
    }

    #[tokio::test]
    async fn every_part_may_be_a_reference_and_is_looked_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("account.json");
        std::fs::write(&path, r#"{"username": "one", "password": "first"}"#).unwrap();
        let part = |field: &str| format!("file:{}#{field}", path.display());
        let settings = config(&[
            ("database.url", "postgres://host/db"),
            ("database.username", &part("username")),
            ("database.password", &part("password")),
        ]);
        let address = Address::of(&settings, "database").unwrap().unwrap();
        assert_eq!(address.current(Freshness::Cached).await.unwrap().reveal(), "postgres://one:first@host/db");
        std::fs::write(&path, r#"{"username": "two", "password": "second"}"#).unwrap();
        assert_eq!(address.current(Freshness::Now).await.unwrap().reveal(), "postgres://two:second@host/db");
        std::fs::write(&path, r#"{"username": "two", "marker": "marker"}"#).unwrap();
        let error = address.current(Freshness::Now).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("no field password") && !told.contains("marker"), "{told}");
        let url = folder.path().join("url");
        std::fs::write(&url, "sqlite:marker").unwrap();
        let reference = format!("file:{}", url.display());
        let settings = config(&[("database.url", &reference), ("database.password", "marker")]);
        let error = Address::of(&settings, "database").unwrap().unwrap().current(Freshness::Now).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("marker"), "{error}");
    }

    proptest! {
        #[test]
        fn what_goes_into_an_address_comes_out_of_it(username in "\\PC{1,20}", password in "\\PC{0,20}") {
            let (user, pass) = (Secret::new(&username), Secret::new(&password));
            let merged = with_credentials(&Secret::new("amqp://host:5672/%2f"), Some(&user), Some(&pass)).unwrap();
            let rest = merged.reveal().strip_prefix("amqp://").unwrap().strip_suffix("@host:5672/%2f").unwrap();
            let (found_user, found_pass) = rest.split_once(':').unwrap();
            let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
            prop_assert_eq!((decoded(found_user), decoded(found_pass)), (username, password));
        }

        #[test]
        fn no_password_is_shown(before in "[a-z/?#:]{0,8}", after in "[a-z/?#:=&]{0,8}") {
            let url = format!("amqp://user:{before}MARKER{after}@host/vhost?heartbeat=5");
            let shown = redacted(&url);
            prop_assert!(!shown.contains("MARKER") && shown.ends_with("host/vhost?heartbeat=5"), "{}", shown);
        }
    }

    #[test]
    fn secret_parameters_are_not_shown() {
        let url = "s3://bucket/prefix?endpoint=http://host:1&session_token=marker&X-Amz-Signature=marker";
        let shown = redacted(url);
        assert_eq!(shown, "s3://bucket/prefix?endpoint=http://host:1&session_token=***&X-Amz-Signature=***");
        assert_eq!(redacted("sqlite:antiphon.db"), "sqlite:antiphon.db");
        assert_eq!(redacted("/var/lib/blobs"), "/var/lib/blobs");
        assert_eq!(redacted("user:marker@host"), "***@host");
    }
}
