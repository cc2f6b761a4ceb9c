//! Addresses that pages lead to and ask at, with what visitors and sensors named escaped in them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// What is written as it is in the value of a query and in a segment of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as the value of a query, or as a segment of a path.
#[must_use]
pub fn escaped(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, PLAIN)
}

/// The page of a sensor; behind `/api/v1`, what the API says of it.
#[must_use]
pub fn sensor(id: &str) -> String {
    format!("/sensors/{}", escaped(id))
}

/// The page of a song; behind `/api/v1`, what the API says of it.
#[must_use]
pub fn song(id: &str) -> String {
    format!("/songs/{}", escaped(id))
}

/// The page of a dead letter; behind `/api/v1`, what the API says of it.
#[must_use]
pub fn letter(id: &str) -> String {
    format!("/dead-letters/{}", escaped(id))
}

/// `&name=value`, for a query to go on with; nothing where there is no value.
#[must_use]
pub fn and(name: &str, value: Option<&str>) -> String {
    value.map(|value| format!("&{name}={}", escaped(value))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_stays_in_its_place() {
        assert_eq!(
            (sensor("a/b?c"), song("s-1._~")),
            (String::from("/sensors/a%2Fb%3Fc"), String::from("/songs/s-1._~"))
        );
        assert_eq!(and("query", Some("ä&b=c d")), "&query=%C3%A4%26b%3Dc%20d");
        assert_eq!(and("query", None), "");
    }
}
