//! A small HTTP client for the servers' own interfaces.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;

/// One request; the status and the body.
///
/// # Errors
/// What the client says when no answer came within five seconds.
pub fn request(
    method: &str,
    url: &str,
    credentials: Option<(&str, &str)>,
    body: Option<&Value>,
) -> Result<(u16, Vec<u8>), ureq::Error> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(5)))
        .build()
        .new_agent();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some((user, password)) = credentials {
        request = request.header("authorization", format!("Basic {}", base64(format!("{user}:{password}").as_bytes())));
    }
    let mut response = match body {
        Some(body) => agent.run(request.header("content-type", "application/json").body(body.to_string())?)?,
        None => agent.run(request.body(())?)?,
    };
    let mut content = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut content)?;
    Ok((response.status().as_u16(), content))
}

/// Base64 with padding (RFC 4648 section 4), for the header of basic authentication.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = chunk.iter().chain([0; 2].iter()).take(3).fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        for position in 0..4 {
            let letter = LETTERS[three >> (18 - 6 * position) & 63];
            text.push(if position <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}
