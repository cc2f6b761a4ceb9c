//! Conditional requests: entity tags and `If-None-Match`.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// A weak entity tag of an opaque text; characters that a tag may not hold are left out.
#[must_use]
pub fn weak_etag(opaque: &str) -> HeaderValue {
    let opaque: String = opaque.chars().filter(|c| c.is_ascii_graphic() && *c != '"').collect();
    HeaderValue::from_str(&format!("W/\"{opaque}\"")).unwrap_or_else(|_| HeaderValue::from_static("W/\"\""))
}

/// Whether the client already has what `etag` names (RFC 9110, section 13.1.2: weak comparison).
#[must_use]
pub fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let strip = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Ok(etag) = etag.to_str().map(strip) else { return false };
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.trim() == "*" || value.split(',').any(|tag| strip(tag) == etag))
}

/// 304 with the tag and the caching headers that the full answer would have.
#[must_use]
pub fn not_modified(etag: HeaderValue, cache_control: HeaderValue) -> Response {
    (StatusCode::NOT_MODIFIED, [(header::ETAG, etag), (header::CACHE_CONTROL, cache_control)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn tags_are_compared_weakly() {
        let etag = weak_etag("8f3a");
        assert_eq!(etag, "W/\"8f3a\"");
        for same in ["W/\"8f3a\"", "\"8f3a\"", "\"x\", W/\"8f3a\"", "*"] {
            assert!(matches(&headers(same), &etag), "{same}");
        }
        for other in ["\"8f3b\"", "8f3a", ""] {
            assert!(!matches(&headers(other), &etag), "{other}");
        }
        assert!(!matches(&HeaderMap::new(), &etag));
    }
}
