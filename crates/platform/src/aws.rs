//! What the clients of AWS services (and of servers that are compatible) share: HTTP with bounded waits, credentials.

mod chain;
mod http;

pub(crate) use chain::{Chain, retries};
pub(crate) use http::{Connector, Waits};

/// What the server or the connection said, without the request and its URL.
pub(crate) fn told(error: &object_store::Error) -> String {
    let text = innermost(error);
    let text = text.trim_start_matches("Server returned non-2xx status code: ").trim_end_matches([':', ' ']);
    text.chars().take(400).collect()
}

/// The cause below all others.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Whether a text may be the name of a region; it goes into headers.
pub(crate) fn is_region(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A server's URL, if a text is that and nothing more: no user, no password, no query.
pub(crate) fn server_url(text: &str) -> Option<url::Url> {
    let url = url::Url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    (matches!(url.scheme(), "http" | "https") && plain && url.fragment().is_none()).then_some(url)
}

/// Whether an answer means that the credentials are wrong or old, so that others may help. An answer to HEAD has no
/// body that could tell it from a missing permission.
#[cfg(feature = "s3")]
pub(crate) fn credentials_refused(error: &object_store::Error) -> bool {
    const CODES: [&str; 10] = [
        "AuthFailure",
        "ExpiredToken",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    ];
    let text = told(error);
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            !text.contains(": ") || CODES.iter().any(|code| text.contains(code))
        }
        _ => text.starts_with("400") && CODES.iter().any(|code| text.contains(code)),
    }
}
