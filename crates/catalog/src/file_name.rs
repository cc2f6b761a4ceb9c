//! What the sender calls a file: a hint for the title, never a path.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

/// The longest name that is kept, in characters.
const LENGTH_LIMIT: usize = 255;

/// The file name of a `Content-Disposition` header (RFC 6266), `filename*` before `filename`: without folders
/// and control characters, in Unicode's NFC.
pub(crate) fn file_name(headers: &HeaderMap) -> Option<String> {
    // Browsers send UTF-8 in the plain form, whatever the RFC says.
    let header = std::str::from_utf8(headers.get(header::CONTENT_DISPOSITION)?.as_bytes()).ok()?;
    let parameters = parameters(header);
    let find =
        |name: &str| parameters.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let name = find("filename*").and_then(|value| extended(value)).or_else(|| find("filename").cloned())?;
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.nfc().filter(|c| !c.is_control()).take(LENGTH_LIMIT).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// `UTF-8''percent-encoded` (RFC 8187).
fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_language, text) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

/// The parameters after the type, quotes removed.
fn parameters(header: &str) -> Vec<(String, String)> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut characters = header.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' if quoted => push(&mut parts, characters.next().unwrap_or_default()),
            ';' if !quoted => parts.push(String::new()),
            other => push(&mut parts, other),
        }
    }
    let pair =
        |part: &String| part.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    parts.iter().filter_map(pair).collect()
}

fn push(parts: &mut [String], character: char) {
    if let Some(part) = parts.last_mut() {
        part.push(character);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn name(header: &[u8]) -> Option<String> {
        file_name(&HeaderMap::from_iter([(header::CONTENT_DISPOSITION, HeaderValue::from_bytes(header).unwrap())]))
    }

    #[test]
    fn names_as_the_rfcs_write_them() {
        let cases = [
            ("attachment; filename=\"A song.flac\"", Some("A song.flac")),
            ("attachment; filename=song.flac", Some("song.flac")),
            ("attachment; filename=\"a;b \\\"c\\\".wav\"", Some("a;b \"c\".wav")),
            ("attachment; filename=\"x.wav\"; filename*=UTF-8''Na%C3%AFve%20%E2%82%AC.wav", Some("Naïve €.wav")),
            ("attachment; FileName=\"x.wav\"", Some("x.wav")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"C:/a/b.wav\"", Some("b.wav")),
            ("attachment; filename*=UTF-8''%FF", None),
            ("attachment; filename=\"  \"", None),
            ("attachment; filename=\"a/\"", None),
            ("attachment", None),
        ];
        for (header, expected) in cases {
            assert_eq!(name(header.as_bytes()).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn names_are_composed_and_bounded() {
        assert_eq!(name("attachment; filename=\"e\u{301}.wav\"".as_bytes()).as_deref(), Some("é.wav"));
        let long = name(format!("attachment; filename=\"{}\"", "ä".repeat(2_000)).as_bytes()).unwrap();
        assert_eq!(long.chars().count(), 255);
    }

    proptest! {
        #[test]
        fn no_header_panics(header in proptest::collection::vec(32_u8..=255, 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&header) {
                let found = file_name(&HeaderMap::from_iter([(header::CONTENT_DISPOSITION, value)]));
                prop_assert!(found.is_none_or(|name| !name.contains('/')));
            }
        }
    }
}
