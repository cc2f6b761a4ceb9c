//! What is made of the text in tags: names, numbers, dates, identifiers.

use unicode_normalization::UnicodeNormalization;

/// Invisible characters that change how the text around them is read (Unicode Standard Annex 9, table 1; and the mark
/// of byte order): in a name they only serve to deceive.
const STEERING: [char; 12] = [
    '\u{200e}', '\u{200f}', '\u{061c}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}',
    '\u{2067}', '\u{2068}', '\u{2069}',
];

/// `text` in Unicode's NFC, at most `limit` characters, lines joined by a space, without control characters and
/// without space around it; `None` if nothing is left.
pub(super) fn clean(text: &str, limit: usize) -> Option<String> {
    let spaced = |character: char| match character {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        other => other,
    };
    let kept = |character: &char| !character.is_control() && !STEERING.contains(character) && *character != '\u{feff}';
    // Composing never makes one character of more than a few, so that many of them are enough.
    let beginning = text.chars().take(limit.saturating_mul(8)).map(spaced).filter(kept);
    let text: String = beginning.nfc().take(limit).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether [`clean`] leaves something of the end away.
pub(super) fn is_cut(text: &str, limit: usize) -> bool {
    text.trim().chars().nth(limit).is_some()
}

/// `3` or `3/12`: a number and of how many; what is 0, over 65,535 or no number is not there.
pub(super) fn number_and_total(text: &str) -> (Option<u32>, Option<u32>) {
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| (1..=65_535).contains(number));
    match text.split_once('/') {
        Some((first, second)) => (number(first), number(second)),
        None => (number(text), None),
    }
}

/// `-7.25 dB` or `-7.25`: a finite number of at most `limit` on either side.
pub(super) fn decibels(text: &str, limit: f64) -> Option<f64> {
    let text = text.trim();
    let number = text.get(text.len().saturating_sub(2)..).filter(|unit| unit.eq_ignore_ascii_case("db"));
    let digits = if number.is_some() { &text[..text.len() - 2] } else { text };
    decimal(digits).filter(|value| value.abs() <= limit)
}

/// A finite decimal number. A comma is taken for the decimal point where there is no point.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.,eE".contains(&byte));
    if !plain || text.len() > 40 {
        return None;
    }
    text.replace(',', ".").parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The day, month or year that `text` begins with, as ISO 8601 writes it: `2004-05-17`, `2004-05` or `2004`. A time
/// behind it is left out; `20040517` is read too.
pub(super) fn date(text: &str) -> Option<String> {
    let text = text.trim();
    let year = text.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()) && *year != "0000")?;
    let rest = &text[4..];
    let compact = rest.len() >= 4 && rest.bytes().take(4).all(|byte| byte.is_ascii_digit());
    let (month, day) = if compact {
        (rest.get(..2), rest.get(2..4))
    } else {
        let month = rest.strip_prefix(['-', '/', '.']).and_then(|rest| rest.get(..2));
        let day = month.and_then(|_| rest.get(3..)).and_then(|rest| rest.strip_prefix(['-', '/', '.']));
        (month, day.and_then(|day| day.get(..2)))
    };
    let within = |text: Option<&str>, last: u32| {
        let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<u32>().ok().filter(|number| (1..=last).contains(number))
    };
    let Some(month) = within(month, 12) else {
        // Five digits are no year.
        return rest.chars().next().is_none_or(|next| !next.is_ascii_digit()).then(|| year.to_owned());
    };
    Some(match within(day, 31) {
        Some(day) => format!("{year}-{month:02}-{day:02}"),
        None => format!("{year}-{month:02}"),
    })
}

/// The UUIDs in `text`, in lower case: some programs put several into one field.
pub(super) fn uuids(text: &str) -> Vec<String> {
    let parts = text.split(|character: char| !character.is_ascii_hexdigit() && character != '-');
    parts.filter(|part| is_uuid(part)).map(str::to_ascii_lowercase).collect()
}

/// RFC 9562, section 4.
fn is_uuid(text: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    text.len() == 36
        && text.split('-').map(str::len).eq(groups)
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// An ISRC (ISO 3901) in its form for machines: twelve characters, upper case, no hyphens.
pub(super) fn isrc(text: &str) -> Option<String> {
    let text = text.trim();
    let code: String =
        text.chars().take(24).filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
    let is_code = code.len() == 12
        && code.bytes().enumerate().all(|(index, byte)| match index {
            0 | 1 => byte.is_ascii_uppercase(),
            2..=4 => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            _ => byte.is_ascii_digit(),
        });
    is_code.then_some(code)
}

/// Text of no declared encoding: UTF-8 where it is that, else Latin-1, which everything is.
pub(super) fn utf8_or_latin1(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_composed_bounded_and_free_of_control() {
        assert_eq!(clean(" Caf\u{0065}\u{0301}\0 ", 100).as_deref(), Some("Café"));
        assert_eq!(clean("a\r\nb\u{7}c\u{85}\u{202e}d", 100).as_deref(), Some("a  bcd"));
        assert_eq!(clean("äöü", 2).as_deref(), Some("äö"));
        for empty in ["", " \n", "\0\0", "\u{feff}\u{2066}"] {
            assert_eq!(clean(empty, 10), None, "{empty:?}");
        }
        assert!(is_cut("abc", 2) && !is_cut("abc ", 3));
    }

    #[test]
    fn numbers_as_people_write_them() {
        let cases = [
            ("3", (Some(3), None)),
            (" 03/12 ", (Some(3), Some(12))),
            ("0/0", (None, None)),
            ("/9", (None, Some(9))),
            ("A1", (None, None)),
            ("99999999999", (None, None)),
            ("-1", (None, None)),
        ];
        for (text, expected) in cases {
            assert_eq!(number_and_total(text), expected, "{text}");
        }
        assert_eq!(decibels("-7.25 dB", 100.0), Some(-7.25));
        assert_eq!(decibels("+3,5DB", 100.0), Some(3.5));
        assert_eq!(decibels("1e300 dB", 100.0), None);
        for text in ["inf", "NaN", "", "dB", "1 2", "0x10"] {
            assert_eq!(decibels(text, 100.0), None, "{text}");
        }
        assert_eq!(decibels("7ß", 100.0), None);
    }

    #[test]
    fn dates_as_programs_write_them() {
        let cases = [
            ("2004", Some("2004")),
            ("2004-05-17", Some("2004-05-17")),
            ("2004-05-17T20:15:00", Some("2004-05-17")),
            ("2004/05/17", Some("2004-05-17")),
            ("20040517", Some("2004-05-17")),
            ("2004-00-00", Some("2004")),
            ("2004-05-00", Some("2004-05")),
            ("2004-13", Some("2004")),
            ("2004 (remaster)", Some("2004")),
            ("20045", None),
            ("17.05.2004", None),
            ("0000-01-01", None),
            ("May", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(date(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn identifiers_are_checked() {
        let id = "8F3471B5-7E6A-48DA-86A9-C1C07A0F47AE";
        let lower = id.to_ascii_lowercase();
        assert_eq!(uuids(id), std::slice::from_ref(&lower));
        assert_eq!(uuids(&format!("{id}/{id}")), [lower.clone(), lower]);
        assert_eq!(uuids("8f3471b5-7e6a-48da-86a9c-1c07a0f47ae"), [""; 0]);
        assert_eq!(isrc("gb-aye-68-00011").as_deref(), Some("GBAYE6800011"));
        assert_eq!(isrc("GBAYE680001"), None);
        assert_eq!(isrc("1BAYE6800011"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_all_is_clean(text in any::<String>(), limit in 1_usize..20) {
            if let Some(clean) = clean(&text, limit) {
                prop_assert!(clean.chars().count() <= limit);
                prop_assert!(!clean.contains(char::is_control));
                prop_assert_eq!(clean.nfc().collect::<String>(), clean.clone());
            }
            let _ = (number_and_total(&text), decibels(&text, 9.0), isrc(&text));
            prop_assert!(uuids(&text).iter().all(|id| id.len() == 36));
            prop_assert!(date(&text).is_none_or(|date| date.len() <= 10));
        }

        #[test]
        fn every_number_of_decibels_is_read_back(value in -99.0_f64..99.0) {
            prop_assert_eq!(decibels(&format!("{value} dB"), 100.0), Some(value));
        }
    }
}
