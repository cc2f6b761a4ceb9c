//! Entity tags and cache headers of answers that depend on what is stored.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::conditional::{self, weak_etag};
use antiphon_platform::http::{Params, Problem};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

use super::format::Format;
use crate::store::Revision;

/// Shared caches may keep what ended longer ago than this: late audio is rare there.
const SETTLED: Micros = 3_600 * SECOND;

/// What an answer's caching depends on.
pub(super) struct Caching<'a> {
    /// The path of the request.
    pub(super) path: &'a str,
    /// Its parameters, and the names that may occur among them.
    pub(super) params: &'a Params,
    pub(super) known: &'a [&'static str],
    pub(super) format: Format,
    pub(super) revision: Revision,
    /// Whatever else the answer is made of, such as units.
    pub(super) details: &'a str,
    /// The end of the range of a sensor; of songs there is none.
    pub(super) end: Option<Micros>,
    /// Whether the answer tells gaps: they grow until now.
    pub(super) tells_gaps: bool,
    /// µs since 1970.
    pub(super) now: Micros,
    /// Whether anybody may read.
    pub(super) is_public: bool,
}

/// The headers of an answer.
pub(super) struct Headers {
    etag: HeaderValue,
    cache_control: HeaderValue,
}

impl Caching<'_> {
    /// The headers, for the parameter `revision` if there is one.
    ///
    /// # Errors
    /// 400 for a revision that is none, 410 for one that is not current any more.
    pub(super) fn headers(&self) -> Result<Headers, Problem> {
        let depends_on_now = self.tells_gaps && self.end.is_some_and(|end| end > self.now);
        let is_pinned = match self.params.get("revision") {
            None => false,
            Some(wanted) => {
                let is_well_formed =
                    wanted.len() == 16 && wanted.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if !is_well_formed {
                    return Err(Problem::bad_field(
                        "revision",
                        "revision must be 16 hexadecimal digits, as in an answer",
                    ));
                }
                if wanted != self.revision.to_string() {
                    return Err(Problem::gone("the data has changed since that revision").field("revision"));
                }
                true
            }
        };
        let who = if self.is_public { "public" } else { "private" };
        // What ends in the future goes on changing while the revision is the same: a gap grows with time.
        let cache_control = if is_pinned && !depends_on_now {
            format!("{who}, max-age=31536000, immutable")
        } else if self.is_public && self.end.is_none_or(|end| end < self.now - SETTLED) {
            format!("{who}, max-age=0, s-maxage=60, must-revalidate")
        } else {
            format!("{who}, max-age=0, must-revalidate")
        };
        Ok(Headers {
            etag: weak_etag(&self.tag(depends_on_now)),
            cache_control: HeaderValue::from_str(&cache_control).unwrap_or(HeaderValue::from_static("no-store")),
        })
    }

    fn tag(&self, depends_on_now: bool) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(env!("CARGO_PKG_VERSION").as_bytes());
        part(self.path.as_bytes());
        for name in self.known.iter().filter(|name| !matches!(**name, "revision" | "format")) {
            if let Some(value) = self.params.get(name) {
                part(name.as_bytes());
                part(value.as_bytes());
            }
        }
        part(self.format.name().as_bytes());
        part(self.details.as_bytes());
        part(&self.revision.0.to_be_bytes());
        if depends_on_now {
            part(&self.now.div_euclid(SECOND).to_be_bytes());
        }
        data_encoding::HEXLOWER.encode(&hash.finalize()[..12])
    }
}

impl Headers {
    /// 304, if the client has this answer already.
    pub(super) fn not_modified(&self, headers: &HeaderMap) -> Option<Response> {
        conditional::matches(headers, &self.etag).then(|| {
            let mut response = conditional::not_modified(self.etag.clone(), self.cache_control.clone());
            vary(response.headers_mut());
            response
        })
    }

    /// Puts the headers on an answer.
    pub(super) fn put_on(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag);
        headers.insert(header::CACHE_CONTROL, self.cache_control);
        vary(headers);
        response
    }
}

fn vary(headers: &mut HeaderMap) {
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding, Authorization"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["from", "to", "revision", "format"];
    const NOW: Micros = 10_000 * SECOND;

    fn headers(query: &str, end: Micros, revision: u64, now: Micros) -> Result<(String, String), Problem> {
        let params = Params::parse(Some(query), KNOWN).unwrap();
        let caching = Caching {
            path: "/x",
            params: &params,
            known: KNOWN,
            format: Format::Json,
            revision: Revision(revision),
            details: "",
            end: Some(end),
            tells_gaps: true,
            now,
            is_public: true,
        };
        let Headers { etag, cache_control } = caching.headers()?;
        Ok((etag.to_str().unwrap().to_owned(), cache_control.to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_tag_changes_with_query_revision_and_an_open_end() {
        let tag = |query: &str, end, revision, now| headers(query, end, revision, now).unwrap().0;
        let past = tag("from=1&to=2", 0, 7, NOW);
        assert_eq!(past, tag("to=2&from=1", 0, 7, NOW + 5 * SECOND));
        assert_eq!(past, tag("from=1&to=2&revision=0000000000000007", 0, 7, NOW));
        assert_ne!(past, tag("from=1&to=3", 0, 7, NOW));
        assert_ne!(past, tag("from=1&to=2", 0, 8, NOW));
        let open = |now| tag("from=1&to=2", NOW * 2, 7, now);
        assert_eq!(open(NOW), open(NOW + SECOND - 1));
        assert_ne!(open(NOW), open(NOW + SECOND));
    }

    #[test]
    fn what_may_be_kept_how_long() {
        let control = |query: &str, end| headers(query, end, 7, NOW).unwrap().1;
        assert_eq!(control("", NOW - SETTLED - 1), "public, max-age=0, s-maxage=60, must-revalidate");
        assert_eq!(control("", NOW - SETTLED), "public, max-age=0, must-revalidate");
        assert!(control("revision=0000000000000007", 0).contains("immutable"));
        assert!(!control("revision=0000000000000007", NOW + 1).contains("immutable"));
        assert_eq!(headers("revision=0000000000000008", 0, 7, NOW).unwrap_err().status, 410);
        assert_eq!(headers("revision=8", 0, 7, NOW).unwrap_err().status, 400);
    }
}
