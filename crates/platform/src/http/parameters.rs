//! Query strings, read strictly: only known names, each at most once, every refusal naming its parameter.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{Problem, nearest, time};
use crate::clock::{Micros, SECOND};

/// The longest query string that is read, in bytes.
const LENGTH_LIMIT: usize = 16 * 1024;

/// The parameters of one request.
#[derive(Clone, Debug)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// Reads a query string in which only the names in `known` may occur.
    ///
    /// # Errors
    /// 400 for an unknown name (with the nearest known one as hint), a name said twice, and text that is not
    /// percent-encoded UTF-8.
    pub fn parse(query: Option<&str>, known: &[&'static str]) -> Result<Self, Problem> {
        let query = query.unwrap_or_default();
        if query.len() > LENGTH_LIMIT {
            let detail = format!("the query string may have at most {LENGTH_LIMIT} bytes");
            return Err(Problem::bad_request("bad-query", detail));
        }
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| not_decodable(name))?;
            let Some(name) = known.iter().copied().find(|known| *known == name) else {
                return Err(unknown(&name, known));
            };
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(Problem::bad_field(name, format!("{name} is said twice")));
            }
            let value = decode(value).ok_or_else(|| not_decodable(name))?;
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter as it was sent, decoded; `None` if it was not sent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that must be sent.
    ///
    /// # Errors
    /// 400 when it is missing or empty.
    pub fn required(&self, name: &str) -> Result<&str, Problem> {
        match self.get(name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(Problem::bad_field(name, format!("{name} is missing"))),
        }
    }

    /// The comma list in a parameter: its entries, trimmed; `None` if it was not sent.
    ///
    /// # Errors
    /// 400 when the list or one of its entries is empty.
    pub fn list(&self, name: &str) -> Result<Option<Vec<&str>>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let entries: Vec<&str> = value.split(',').map(str::trim).collect();
        if entries.iter().any(|entry| entry.is_empty()) {
            return Err(Problem::bad_field(name, format!("{name} is a comma list; it has an empty entry")));
        }
        Ok(Some(entries))
    }

    /// A time (RFC 3339 with an offset), µs since 1970. A space before the offset is read as `+`, for
    /// that is what an unencoded `+` becomes in a query string.
    ///
    /// # Errors
    /// 400 that says what is wrong with it.
    pub fn time(&self, name: &str) -> Result<Option<Micros>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let plus = value.len().checked_sub(6).filter(|at| value.as_bytes()[*at] == b' ');
        let value = match plus {
            Some(at) => format!("{}+{}", &value[..at], &value[at + 1..]),
            None => value.to_owned(),
        };
        time::parse(&value).map(Some).map_err(|error| Problem::bad_field(name, format!("{name} {error}")))
    }

    /// A time that must be sent.
    ///
    /// # Errors
    /// As [`Params::time`], and 400 when it is missing.
    pub fn required_time(&self, name: &str) -> Result<Micros, Problem> {
        self.required(name)?;
        self.time(name)?.ok_or_else(|| Problem::bad_field(name, format!("{name} is missing")))
    }

    /// The half-open range of times `[from, to)` in the parameters `from` and `to`, both required.
    ///
    /// # Errors
    /// 400 when one is missing or no time, or when `from` is not before `to`.
    pub fn time_range(&self) -> Result<(Micros, Micros), Problem> {
        let (from, to) = (self.required_time("from")?, self.required_time("to")?);
        if from >= to {
            return Err(Problem::bad_field("from", "from must be before to"));
        }
        Ok((from, to))
    }

    /// A number of seconds with at most six decimals, as µs.
    ///
    /// # Errors
    /// 400 when it is not such a number or outside `range` (in seconds).
    pub fn seconds(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<Micros>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        parse_seconds(value)
            .filter(|micros| (i64::from(*range.start()) * SECOND..=i64::from(*range.end()) * SECOND).contains(micros))
            .map(Some)
            .ok_or_else(|| {
                let (low, high) = (range.start(), range.end());
                let detail = format!("{name} must be a number of seconds from {low} to {high}, at most six decimals");
                Problem::bad_field(name, detail)
            })
    }

    /// A whole number inside `range`.
    ///
    /// # Errors
    /// 400 when it is not one, or outside.
    pub fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        i64::from_str(value).ok().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let detail = format!("{name} must be a whole number from {} to {}", range.start(), range.end());
            Problem::bad_field(name, detail)
        })
    }

    /// A number inside `range`.
    ///
    /// # Errors
    /// 400 when it is not a finite number, or outside.
    pub fn number(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        f64::from_str(value).ok().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let detail = format!("{name} must be a number from {} to {}", range.start(), range.end());
            Problem::bad_field(name, detail)
        })
    }

    /// `true` or `false`; `false` if it was not sent.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad_field(name, format!("{name} must be true or false"))),
        }
    }

    /// One of several names.
    ///
    /// # Errors
    /// 400 for any other, with the nearest as hint.
    pub fn choice<'c>(&self, name: &str, choices: &[&'c str]) -> Result<Option<&'c str>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        choices.iter().copied().find(|choice| *choice == value).map(Some).ok_or_else(|| {
            let detail = format!("{name} must be one of {}", choices.join(", "));
            Problem::bad_field(name, detail).hint(nearest(value, choices.iter().copied()))
        })
    }

    /// How many items a list may have: `limit`, 1 to 1,000, by default 100.
    ///
    /// # Errors
    /// 400 outside that.
    pub fn limit(&self) -> Result<usize, Problem> {
        self.limit_up_to(1_000, 100)
    }

    /// How many items an answer may have: `limit`, 1 to `most`, by default `default`.
    ///
    /// # Errors
    /// 400 outside that.
    pub fn limit_up_to(&self, most: u32, default: u32) -> Result<usize, Problem> {
        let limit = self.integer("limit", 1..=i64::from(most))?.unwrap_or(i64::from(default));
        Ok(usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

/// Seconds such as `1.25` as µs; `None` for signs, exponents, more than six decimals, and what is no number.
#[must_use]
pub fn parse_seconds(text: &str) -> Option<Micros> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 12 || fraction.len() > 6 {
        return None;
    }
    let whole = i64::from_str(whole).ok()?;
    let fraction = i64::from_str(&format!("{fraction:0<6}")).ok()?;
    Some(whole * SECOND + fraction)
}

/// Undoes percent-encoding, `+` read as a space; `None` for a broken escape or text that is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (escape, tail) = rest.split_at_checked(2)?;
                let digit = |byte: u8| (byte as char).to_digit(16);
                let value = digit(escape[0])? * 16 + digit(escape[1])?;
                bytes.push(u8::try_from(value).ok()?);
                rest = tail;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn not_decodable(name: &str) -> Problem {
    let name: String = name.chars().take(100).collect();
    Problem::bad_field(&name, format!("{name} is not percent-encoded UTF-8"))
}

fn unknown(name: &str, known: &[&'static str]) -> Problem {
    let name: String = name.chars().take(100).collect();
    let detail = match known {
        [] => format!("there is no parameter {name:?}; this route takes none"),
        _ => format!("there is no parameter {name:?}; there are {}", known.join(", ")),
    };
    let hint = nearest(&name, known.iter().copied()).map(str::to_owned);
    Problem::bad_request("unknown-parameter", detail).field(name).hint(hint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: &[&str] = &["from", "to", "limit", "features", "lead_in", "format"];

    fn params(query: &str) -> Params {
        Params::parse(Some(query), KNOWN).unwrap()
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_nearest_one() {
        let problem = Params::parse(Some("limits=3"), KNOWN).unwrap_err();
        assert_eq!(
            (problem.status, problem.field.as_deref(), problem.hint.as_deref()),
            (400, Some("limits"), Some("limit"))
        );
        assert_eq!(Params::parse(Some("x=1"), &[]).unwrap_err().status, 400);
    }

    #[test]
    fn a_parameter_said_twice_is_refused() {
        let problem = Params::parse(Some("limit=3&limit=3"), KNOWN).unwrap_err();
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some("limit")));
    }

    #[test]
    fn a_space_before_an_offset_is_a_plus() {
        let plain = params("from=2026-05-01T05:30:00%2B05:30").required_time("from").unwrap();
        assert_eq!(params("from=2026-05-01T05:30:00+05:30").required_time("from").unwrap(), plain);
        assert_eq!(params("from=2026-05-01T05:30:00%2005:30").required_time("from").unwrap(), plain);
        assert_eq!(params("from=2026-05-01T00:00:00Z").required_time("from").unwrap(), plain);
    }

    #[test]
    fn times_name_their_parameter() {
        for query in ["", "from=", "from=2026-05-01T00:00:00", "from=now", "from=ä+00:00", "from=1234567é90:00"] {
            let problem = params(query).required_time("from").unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some("from")), "{query}");
        }
        let problem = params("from=2026-05-01T00:00:00Z&to=2026-05-01T00:00:00Z").time_range().unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("from"));
    }

    #[test]
    fn seconds_have_at_most_six_decimals() {
        assert_eq!(params("lead_in=1.25").seconds("lead_in", 0..=5).unwrap(), Some(1_250_000));
        assert_eq!(params("lead_in=5.000000").seconds("lead_in", 0..=5).unwrap(), Some(5_000_000));
        for bad in ["5.000001", "1.0000001", "-1", "1e0", "NaN", "", ".5", "1.", "+1"] {
            assert!(params(&format!("lead_in={bad}")).seconds("lead_in", 0..=5).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(params("").limit().unwrap(), 100);
        assert_eq!(params("limit=1000").limit().unwrap(), 1_000);
        for bad in ["0", "1001", "-1", "ten", "", "1.0"] {
            assert_eq!(params(&format!("limit={bad}")).limit().unwrap_err().field.as_deref(), Some("limit"), "{bad}");
        }
    }

    #[test]
    fn lists_and_choices() {
        assert_eq!(params("features=level.a,mel").list("features").unwrap().unwrap(), ["level.a", "mel"]);
        assert!(params("features=level.a,,mel").list("features").is_err());
        let problem = params("format=jsn").choice("format", &["json", "csv"]).unwrap_err();
        assert_eq!(problem.hint.as_deref(), Some("json"));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for query in ["from=%", "from=%2", "from=%zz", "from=%ff", "%ff=1"] {
            assert_eq!(Params::parse(Some(query), KNOWN).unwrap_err().status, 400, "{query}");
        }
        assert_eq!(Params::parse(Some(&"a".repeat(20_000)), KNOWN).unwrap_err().status, 400);
    }

    proptest! {
        #[test]
        fn no_query_panics(query in "\\PC{0,60}") {
            if let Ok(params) = Params::parse(Some(&query), KNOWN) {
                let _ = (params.time("from"), params.limit(), params.seconds("lead_in", 0..=5), params.list("features"));
            }
        }
    }
}
