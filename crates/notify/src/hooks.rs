//! Web hooks, and what is told to them.

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Statement, Value, WriteTransaction};
use antiphon_platform::http::Problem;
use antiphon_platform::outbound::Allow;
use antiphon_platform::queue::Message;
use antiphon_platform::{outbox, sql};
use bytes::Bytes;
use prost::Message as _;
use url::Url;

use crate::signature::Secret;
use crate::{NOTICES, messages};

const INSERT: Statement = sql!("sql/hook_insert.sql");
const DELETE: Statement = sql!("sql/hook_delete.sql");
const URL: Statement = sql!("sql/hook_url.sql");
const DELETE_DELIVERIES: Statement = sql!("sql/deliveries_delete_of_hook.sql");

pub(crate) const STATEMENTS: &[Statement] = &[INSERT, DELETE, URL, DELETE_DELIVERIES];

/// The longest address, in bytes.
const LONGEST: usize = 2_048;

/// Names a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook(pub String);

/// A hook that was just made: the only time that its secret is told.
#[derive(Debug)]
pub struct NewHook {
    /// Its name.
    pub hook: Hook,
    /// What it is signed with.
    pub secret: Secret,
}

/// Something to be told once.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Its id: what has the same one is the same. Printable ASCII.
    pub id: String,
    /// Its place among the notices of the hook: a smaller one is sent first.
    pub number: i64,
    /// Not to be sent before, µs since 1970.
    pub not_before: Micros,
    /// Somebody wants to see whether it arrives: it waits for no other, and is tried a few times only.
    pub test: bool,
    /// What is sent, JSON.
    pub body: Bytes,
}

/// Checks where a hook is to lead. An address that `allow` refuses is told at once; whether a name may be reached is found
/// out when something is sent: that is up to what it leads to then.
///
/// # Errors
/// 400 that names `field`.
pub fn check_address(field: &str, text: &str, allow: &Allow) -> Result<Url, Problem> {
    let wrong = |why: &str| Problem::bad_field(field, format!("{field} {why}"));
    if text.len() > LONGEST {
        return Err(wrong(&format!("has at most {LONGEST} bytes")));
    }
    let mut url = Url::parse(text).map_err(|error| wrong(&format!("is no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("begins with https: or http:"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user name or a password, which are not sent; the signature says who sends"));
    }
    allow.check(&url).map_err(|error| {
        let host = url.host_str().unwrap_or_default();
        wrong(&format!("would get nothing: {error} (setting notify.allow)"))
            .hint(Some(format!("let the server start with ANTIPHON_NOTIFY__ALLOW={host}")))
    })?;
    url.set_fragment(None);
    Ok(url)
}

/// Makes a hook that leads to `url`; it is there once the transaction is committed.
///
/// # Errors
/// Those of the database; [`DbError::Broken`] when the machine gives no random bytes.
pub async fn make(tx: &mut WriteTransaction, url: &Url, now: Micros) -> Result<NewHook, DbError> {
    let secret = Secret::random()?;
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| DbError::Broken(format!("no random bytes: {error}")))?;
    let millis = u64::try_from(now / 1_000).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string();
    tx.execute(&INSERT, &[id.as_str().into(), url.as_str().into(), secret.bytes().into(), now.into()]).await?;
    Ok(NewHook { hook: Hook(id), secret })
}

/// Removes a hook, and what was still to be sent to it. What became of earlier notices stays known.
///
/// # Errors
/// Those of the database.
pub async fn remove(tx: &mut WriteTransaction, hook: &Hook) -> Result<(), DbError> {
    tx.execute(&DELETE_DELIVERIES, &[hook.0.as_str().into()]).await?;
    tx.execute(&DELETE, &[hook.0.as_str().into()]).await.map(drop)
}

/// Where a hook leads, without path and query, which may hold secrets: `https://example.org`.
///
/// # Errors
/// Those of the database.
pub async fn told_to(tx: &mut ReadTransaction, hook: &Hook) -> Result<Option<String>, DbError> {
    let Some(row) = tx.row(&URL, &[hook.0.as_str().into()]).await? else { return Ok(None) };
    let url: String = row.get(0)?;
    Ok(Url::parse(&url).ok().map(|url| url.origin().ascii_serialization()))
}

/// Has a hook told once the transaction is committed.
///
/// # Errors
/// Those of the database.
pub async fn tell(tx: &mut WriteTransaction, hook: &Hook, notice: &Notice, now: Micros) -> Result<(), DbError> {
    let body = messages::Notice {
        hook: hook.0.clone(),
        number: notice.number,
        not_before: notice.not_before,
        test: notice.test,
        body: notice.body.clone(),
    };
    let message = Message {
        id: notice.id.clone(),
        kind: String::from("antiphon.notice.v1"),
        source: format!("hooks/{}", hook.0),
        time: now,
        trace: String::new(),
        body: body.encode_to_vec().into(),
    };
    outbox::publish(tx, NOTICES, &message).await
}

impl From<&Hook> for Value {
    fn from(hook: &Hook) -> Self {
        Self::Text(hook.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_taken() {
        assert_eq!(
            check_address("webhook", "https://a.example/x?y#z", &Allow::default()).unwrap().as_str(),
            "https://a.example/x?y"
        );
        let long = format!("https://a.example/{}", "x".repeat(LONGEST));
        for bad in
            ["", "a.example", "ftp://a.example", "file:///etc/passwd", "https://", "https://me:x@a.example", &long]
        {
            let problem = check_address("webhook", bad, &Allow::default()).unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some("webhook")), "{bad}");
        }
    }
}
