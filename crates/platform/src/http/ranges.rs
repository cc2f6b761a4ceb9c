//! Objects over HTTP: whole or one byte range, with a strong entity tag (RFC 9110, sections 13 and 14).

use std::ops::Range;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Problem, conditional};
use crate::blobs::Blobs;

/// Answers a GET for the object `key`, whose bytes `etag` (strong, in quotes) names for ever: 200 with all of it, 206
/// with the range that `headers` ask for, 304 when the client has it, 416 for a range beyond its end.
/// Several ranges at once, and units other than bytes, are answered with the whole object, as the RFC allows.
///
/// # Errors
/// 404 when there is no such object, 503 when the store cannot be used.
pub async fn serve_blob(
    blobs: &dyn Blobs,
    key: &str,
    headers: &HeaderMap,
    media_type: &str,
    etag: HeaderValue,
    cache_control: HeaderValue,
) -> Result<Response, Problem> {
    if conditional::matches(headers, &etag) {
        return Ok(conditional::not_modified(etag, cache_control));
    }
    let size = blobs.info(key).await?.size;
    let wanted = if may_be_partial(headers, &etag) { requested(headers, size) } else { Requested::Whole };
    let (status, bytes) = match wanted {
        Requested::Whole => (StatusCode::OK, 0..size),
        Requested::Part(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
        Requested::Beyond => {
            let detail = format!("the range lies beyond the end; there are {size} bytes");
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", detail);
            return Err(match HeaderValue::from_str(&format!("bytes */{size}")) {
                Ok(value) => problem.header(header::CONTENT_RANGE, value),
                Err(_) => problem,
            });
        }
    };
    let part = (status == StatusCode::PARTIAL_CONTENT).then(|| bytes.clone());
    let content_range = part.as_ref().map(|part| format!("bytes {}-{}/{size}", part.start, part.end - 1));
    let body = Body::from_stream(blobs.get(key, part).await?);
    let mut response = (status, body).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(header::ETAG, etag);
    answer.insert(header::CACHE_CONTROL, cache_control);
    // What people upload is never to be taken for a page by a browser.
    answer.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(media_type) = HeaderValue::from_str(media_type) {
        answer.insert(header::CONTENT_TYPE, media_type);
    }
    if let Some(content_range) = content_range.and_then(|text| HeaderValue::from_str(&text).ok()) {
        answer.insert(header::CONTENT_RANGE, content_range);
    }
    Ok(response)
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Requested {
    Whole,
    Part(Range<u64>),
    Beyond,
}

/// `If-Range` holds the tag of what the client has a part of; of anything else it wants the whole.
fn may_be_partial(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|tag| tag == etag)
}

fn requested(headers: &HeaderMap, size: u64) -> Requested {
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let range = text.split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = range.and_then(|(_, range)| range.trim().split_once('-')) else {
        return Requested::Whole;
    };
    let number = |text: &str| match text {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(digits.parse().unwrap_or(u64::MAX))),
        _ => None,
    };
    match (number(first), number(last)) {
        (Some(Some(first)), Some(Some(last))) if first > last => Requested::Whole,
        (Some(Some(first)), Some(last)) if first < size => {
            Requested::Part(first..last.unwrap_or(u64::MAX).saturating_add(1).min(size))
        }
        (Some(Some(_)), Some(_)) => Requested::Beyond,
        (Some(None), Some(Some(suffix))) if suffix > 0 && size > 0 => {
            Requested::Part(size.saturating_sub(suffix)..size)
        }
        (Some(None), Some(Some(_))) => Requested::Beyond,
        _ => Requested::Whole,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(text).unwrap())])
    }

    #[test]
    fn ranges_as_the_rfc_reads_them() {
        let cases = [
            ("bytes=0-0", Requested::Part(0..1)),
            ("bytes=0-499", Requested::Part(0..100)),
            ("bytes=10-19", Requested::Part(10..20)),
            ("bytes=99-", Requested::Part(99..100)),
            ("Bytes=-1", Requested::Part(99..100)),
            ("bytes=-500", Requested::Part(0..100)),
            ("bytes=0-99999999999999999999999", Requested::Part(0..100)),
            ("bytes=100-", Requested::Beyond),
            ("bytes=-0", Requested::Beyond),
            ("bytes=5-4", Requested::Whole),
            ("bytes=0-1,5-6", Requested::Whole),
            ("bytes=a-b", Requested::Whole),
            ("bytes=-", Requested::Whole),
            ("seconds=0-1", Requested::Whole),
            ("", Requested::Whole),
        ];
        for (text, expected) in cases {
            assert_eq!(requested(&range(text), 100), expected, "{text}");
        }
    }

    #[test]
    fn a_part_of_something_else_is_not_continued() {
        let etag = HeaderValue::from_static("\"a\"");
        let if_range = |text| HeaderMap::from_iter([(header::IF_RANGE, HeaderValue::from_static(text))]);
        assert!(may_be_partial(&HeaderMap::new(), &etag));
        assert!(may_be_partial(&if_range("\"a\""), &etag));
        assert!(!may_be_partial(&if_range("\"b\""), &etag));
        assert!(!may_be_partial(&if_range("Fri, 01 May 2026 00:00:00 GMT"), &etag));
    }

    proptest! {
        #[test]
        fn every_part_lies_inside(text in "bytes=[0-9,-]{0,25}", size in 0_u64..1_000_000) {
            if let Requested::Part(part) = requested(&range(&text), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
