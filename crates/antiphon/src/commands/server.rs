//! A server to talk to: where it is, with which key, and what it said, in words for people.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use antiphon_platform::clock::Micros;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::{self, HeaderMap};
use ureq::{Agent, SendBody};

use crate::cli::Globals;
use crate::running;

/// How long to wait for a connection, and for an answer after the request was sent: longer than any `wait`.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);

/// The largest answer that is read into memory, in bytes.
const ANSWER_LIMIT: u64 = 256 * 1024 * 1024;

/// Where the server is, and who asks.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServerOptions {
    /// The server's address, such as http://127.0.0.1:8470; without it the `up` that runs on the data folder.
    #[arg(long, env = "ANTIPHON_SERVER", value_name = "URL", help_heading = "Server")]
    pub server: Option<String>,
    /// A file that holds the API key. Without it the key is taken from ANTIPHON_KEY; beside a running `up` none is needed.
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub key_file: Option<PathBuf>,
}

/// A server, and the key to use there. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Server {
    agent: Agent,
    address: String,
    key: Option<String>,
}

/// An answer that is no refusal.
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Its body; null when it has none or it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// When the server says that it made the answer, in whole seconds; µs since 1970.
    pub fn date(&self) -> Option<Micros> {
        let date = httpdate::parse_http_date(self.headers.get("date")?.to_str().ok()?).ok()?;
        Micros::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
    }
}

/// Why a request got no answer that helps.
#[derive(Debug)]
pub enum RequestError {
    /// No connection, or one that broke: trying again may help.
    Unreachable {
        /// The server's address.
        address: String,
        /// What went wrong.
        cause: String,
    },
    /// The server said no.
    Refused(Box<Refusal>),
}

/// What the server said when it said no.
#[derive(Debug)]
pub struct Refusal {
    /// The request's method and address, without its query.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// The problem, or what came instead of one.
    pub problem: ProblemText,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
}

/// The members of a problem document that are for people.
#[derive(Debug, Default, Deserialize)]
pub struct ProblemText {
    /// The kind in words.
    #[serde(default)]
    pub title: String,
    /// What is wrong.
    #[serde(default)]
    pub detail: String,
    /// The parameter or field that is wrong.
    pub field: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl RequestError {
    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => matches!(refusal.status, 408 | 429 | 500..=599),
        }
    }

    /// The status, if the server answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Unreachable { .. } => None,
            Self::Refused(refusal) => Some(refusal.status),
        }
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { .. } => None,
            Self::Refused(refusal) => refusal.retry_after.map(Duration::from_secs),
        }
    }

    /// What is wrong and what to do, without saying which request it was.
    pub fn reason(&self) -> String {
        match self {
            Self::Unreachable { cause, .. } => cause.clone(),
            Self::Refused(refusal) => refusal.problem.to_string(),
        }
    }
}

impl fmt::Display for ProblemText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.detail.is_empty() { &self.title } else { &self.detail })?;
        if let Some(field) = &self.field {
            write!(f, " (field {field})")?;
        }
        match &self.hint {
            // A hint is a sentence, or the nearest valid name.
            Some(hint) if hint.contains(' ') => write!(f, "; {hint}"),
            Some(hint) => write!(f, "; did you mean {hint}?"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, cause } => {
                write!(f, "cannot reach {address}: {cause}; is `antiphon up` running there? --server names another one")
            }
            Self::Refused(refusal) => {
                let Refusal { request, status, problem, .. } = &**refusal;
                write!(f, "{problem}")?;
                if *status == 401 {
                    f.write_str("; the key is taken from ANTIPHON_KEY or --key-file")?;
                }
                write!(f, " ({request} answered {status})")
            }
        }
    }
}

impl std::error::Error for RequestError {}

impl Server {
    /// The server that the options, the environment or the data folder name.
    ///
    /// # Errors
    /// When none is named and none runs, when the address is none, or the key file cannot be read.
    pub fn find(options: &ServerOptions, globals: &Globals) -> Result<Self> {
        let local = running::address(&globals.data);
        let address = match (&options.server, &local) {
            (Some(address), _) => address.trim_end_matches('/').to_owned(),
            (None, Some(address)) => address.clone(),
            (None, None) => bail!(
                "no server is running on the data folder {}: start one with `antiphon up`, or name one with --server URL",
                globals.data.display()
            ),
        };
        let scheme_is_known = address.starts_with("http://") || address.starts_with("https://");
        if !scheme_is_known || address.parse::<http::Uri>().is_err() {
            bail!("--server {address}: not an address such as http://127.0.0.1:8470");
        }
        let key = match given_key(options)? {
            Some(key) => Some(key),
            // The local token opens this server only, so nobody else is shown it.
            None if local.as_ref() == Some(&address) => read_token(globals),
            None => None,
        };
        Ok(Self::new(address, key))
    }

    /// The server that runs on the data folder, with the token that it keeps there: whatever the environment names.
    ///
    /// # Errors
    /// When none runs there.
    pub fn beside(globals: &Globals) -> Result<Self> {
        let address = running::address(&globals.data)
            .with_context(|| format!("no server is running on the data folder {}", globals.data.display()))?;
        Ok(Self::new(address, read_token(globals)))
    }

    fn new(address: String, key: Option<String>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .max_redirects(0)
            .max_idle_connections_per_host(16)
            .user_agent(concat!("antiphon/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.new_agent(), address, key }
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// GET as JSON.
    pub fn get(&self, path: &str) -> Result<Value, RequestError> {
        self.json(http::Request::get(self.url(path)))
    }

    /// GET of all pages of a list, as one list.
    pub fn get_all(&self, path: &str) -> Result<Vec<Value>, RequestError> {
        let mut items = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = match &cursor {
                None => self.get(&format!("{path}{separator}limit=1000"))?,
                Some(cursor) => self.get(&format!("{path}{separator}limit=1000&cursor={cursor}"))?,
            };
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }

    /// POST of JSON; the answer as JSON, null when it has no body.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, RequestError> {
        let text = body.to_string();
        let request = http::Request::post(self.url(path)).header("content-type", "application/json");
        self.send(request, SendBody::from_reader(&mut text.as_bytes()), Some(text.len() as u64))
            .map(|answer| answer.json())
    }

    /// PATCH of JSON; the answer as JSON.
    pub fn patch(&self, path: &str, body: &Value) -> Result<Value, RequestError> {
        let text = body.to_string();
        let request = http::Request::patch(self.url(path)).header("content-type", "application/json");
        self.send(request, SendBody::from_reader(&mut text.as_bytes()), Some(text.len() as u64))
            .map(|answer| answer.json())
    }

    /// POST without a body.
    pub fn post_empty(&self, path: &str) -> Result<Value, RequestError> {
        let request = http::Request::post(self.url(path));
        self.send(request, SendBody::none(), Some(0)).map(|answer| answer.json())
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Result<(), RequestError> {
        self.send(http::Request::delete(self.url(path)), SendBody::none(), None).map(|_| ())
    }

    /// POST of `length` bytes; they are asked for only when the server wants them.
    pub fn upload(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &mut dyn Read,
        length: u64,
    ) -> Result<Answer, RequestError> {
        let mut request = http::Request::post(self.url(path)).header("expect", "100-continue");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request, SendBody::from_reader(body), Some(length))
    }

    /// GET of a table in a format of its own, written to `target` as it comes.
    pub fn copy(&self, path: &str, target: &mut dyn std::io::Write) -> Result<()> {
        let request = self.authorized(http::Request::get(self.url(path)));
        let request = request.body(()).context("the request cannot be built")?;
        let name = name_of(&request);
        let mut response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(refusal(name, &mut response).into());
        }
        std::io::copy(&mut response.body_mut().as_reader(), target)
            .context("the table broke off; what was written is not all of it")?;
        target.flush().context("the table cannot be written")?;
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    fn json(&self, request: http::request::Builder) -> Result<Value, RequestError> {
        self.send(request, SendBody::none(), None).map(|answer| answer.json())
    }

    fn authorized(&self, request: http::request::Builder) -> http::request::Builder {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    fn send(
        &self,
        request: http::request::Builder,
        body: SendBody<'_>,
        length: Option<u64>,
    ) -> Result<Answer, RequestError> {
        let mut request = self.authorized(request);
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let request = request.body(body).map_err(|error| self.unreachable(&error))?;
        let name = name_of(&request);
        let mut response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(refusal(name, &mut response));
        }
        let headers = response.headers().clone();
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_LIMIT)
            .read_to_vec()
            .map_err(|error| self.unreachable(&error))?;
        Ok(Answer { headers, body })
    }

    fn unreachable(&self, error: &dyn fmt::Display) -> RequestError {
        RequestError::Unreachable { address: self.address.clone(), cause: error.to_string() }
    }
}

fn name_of<T>(request: &http::Request<T>) -> String {
    let address = request.uri().to_string();
    format!("{} {}", request.method(), address.split('?').next().unwrap_or_default())
}

fn refusal(request: String, response: &mut http::Response<ureq::Body>) -> RequestError {
    let status = response.status();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let text = response.body_mut().with_config().limit(64 * 1024).read_to_string().unwrap_or_default();
    let problem = serde_json::from_str(&text).unwrap_or_else(|_| ProblemText {
        title: status.canonical_reason().unwrap_or("refused").to_lowercase(),
        ..ProblemText::default()
    });
    RequestError::Refused(Box::new(Refusal { request, status: status.as_u16(), problem, retry_after }))
}

/// The key of `ANTIPHON_KEY` or the key file; never of an argument, which every user of the machine can see.
fn given_key(options: &ServerOptions) -> Result<Option<String>> {
    let key = match &options.key_file {
        Some(path) => Some(
            std::fs::read_to_string(path).with_context(|| format!("cannot read the key file {}", path.display()))?,
        ),
        None => std::env::var("ANTIPHON_KEY").ok(),
    };
    let key = key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
    if key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
        bail!("the key has characters that no key has; a key file holds the key alone");
    }
    Ok(key)
}

fn read_token(globals: &Globals) -> Option<String> {
    let token = std::fs::read_to_string(globals.data.join("run/token")).ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// A path segment or query value, percent-encoded.
pub fn encoded(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_failed_where_and_what_to_do() {
        let problem: ProblemText = serde_json::from_str(
            r#"{"type":"/problems/conflict","title":"Conflict","status":409,"detail":"roof is taken","field":"id","hint":"use another"}"#,
        )
        .unwrap();
        let refusal =
            Refusal { request: String::from("POST http://a/api/v1/sensors"), status: 409, problem, retry_after: None };
        let error = RequestError::Refused(Box::new(refusal));
        assert_eq!(
            error.to_string(),
            "roof is taken (field id); use another (POST http://a/api/v1/sensors answered 409)"
        );
        assert!(!error.is_temporary());
    }

    #[test]
    fn values_in_addresses_are_encoded() {
        assert_eq!(encoded("2026-05-01T00:00:00+02:00 ä"), "2026-05-01T00%3A00%3A00%2B02%3A00%20%C3%A4");
    }
}
