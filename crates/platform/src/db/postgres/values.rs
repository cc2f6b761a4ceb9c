//! Values in PostgreSQL's binary form, which statements and COPY share.
//!
//! The server gives each placeholder a type; a value is sent as that type, or refused here. Back come `bigint`,
//! `integer`, `smallint` and `boolean` as [`Value::Int`], `double precision` and `real` as [`Value::Real`], and what is
//! counted in `numeric`: a whole number, such as the sum of bigints, as [`Value::Int`], another, such as an average, as
//! [`Value::Real`].

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgRow, PgTypeInfo};
use sqlx::{Encode, Postgres, Row as _, Type, TypeInfo, ValueRef};

use super::super::Value;
use super::super::engine::NO_NUL;

/// Numbers of built-in types (`pg_type.dat` of PostgreSQL's source); they never change.
pub(super) mod oid {
    pub(in super::super) const BOOL: u32 = 16;
    pub(in super::super) const BYTEA: u32 = 17;
    pub(in super::super) const NAME: u32 = 19;
    pub(in super::super) const INT8: u32 = 20;
    pub(in super::super) const INT2: u32 = 21;
    pub(in super::super) const INT4: u32 = 23;
    pub(in super::super) const TEXT: u32 = 25;
    pub(in super::super) const FLOAT4: u32 = 700;
    pub(in super::super) const FLOAT8: u32 = 701;
    pub(in super::super) const UNKNOWN: u32 = 705;
    pub(in super::super) const BPCHAR: u32 = 1042;
    pub(in super::super) const VARCHAR: u32 = 1043;
    pub(in super::super) const NUMERIC: u32 = 1700;
}

/// The array types of the types that columns have.
const ARRAYS: [(u32, u32); 10] = [
    (oid::BOOL, 1000),
    (oid::BYTEA, 1001),
    (oid::INT2, 1005),
    (oid::INT4, 1007),
    (oid::TEXT, 1009),
    (oid::BPCHAR, 1014),
    (oid::VARCHAR, 1015),
    (oid::INT8, 1016),
    (oid::FLOAT4, 1021),
    (oid::FLOAT8, 1022),
];

/// A value as the type that the server wants.
pub(super) struct Bound<'a> {
    pub(super) value: &'a Value,
    pub(super) kind: &'a PgTypeInfo,
}

/// A column of values as an array.
pub(super) struct BoundArray {
    bytes: Vec<u8>,
    kind: PgTypeInfo,
}

impl Type<Postgres> for Bound<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(oid::UNKNOWN))
    }
}

impl Encode<'_, Postgres> for Bound<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(if encode(self.value, self.kind, buffer)? { IsNull::No } else { IsNull::Yes })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.kind.clone())
    }
}

impl Type<Postgres> for BoundArray {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(oid::UNKNOWN))
    }
}

impl Encode<'_, Postgres> for BoundArray {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.kind.clone())
    }
}

impl BoundArray {
    /// The array of `column` of all rows. Its form: `src/backend/utils/adt/arrayfuncs.c`, `array_send`.
    pub(super) fn of_column(rows: &[Vec<Value>], column: usize, kind: &PgTypeInfo) -> Result<Self, String> {
        let element = number(kind);
        let Some((_, array)) = ARRAYS.iter().find(|(of, _)| *of == element) else {
            return Err(format!("there are no arrays of {} here", kind.name()));
        };
        let count = i32::try_from(rows.len()).map_err(|error| error.to_string())?;
        let mut bytes = Vec::with_capacity(20 + 12 * rows.len());
        let has_nulls = rows.iter().any(|row| row.get(column) == Some(&Value::Null));
        for part in [1, i32::from(has_nulls), element.cast_signed(), count, 1] {
            bytes.extend_from_slice(&part.to_be_bytes());
        }
        for row in rows {
            field(row.get(column).unwrap_or(&Value::Null), kind, &mut bytes)?;
        }
        Ok(Self { bytes, kind: PgTypeInfo::with_oid(Oid(*array)) })
    }
}

/// Appends a value with its length before it, as arrays and COPY have it.
pub(super) fn field(value: &Value, kind: &PgTypeInfo, bytes: &mut Vec<u8>) -> Result<(), String> {
    let start = bytes.len();
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    if encode(value, kind, bytes)? {
        let length = i32::try_from(bytes.len() - start - 4).map_err(|error| error.to_string())?;
        if let Some(place) = bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

/// The types for which numbers are wider, if any is narrow.
pub(super) fn wider(types: &[PgTypeInfo]) -> Option<Vec<PgTypeInfo>> {
    let is_narrow = |kind: &PgTypeInfo| matches!(number(kind), oid::INT2 | oid::INT4);
    let widen = |kind: &PgTypeInfo| if is_narrow(kind) { PgTypeInfo::with_oid(Oid(oid::INT8)) } else { kind.clone() };
    types.iter().any(is_narrow).then(|| types.iter().map(widen).collect())
}

fn number(kind: &PgTypeInfo) -> u32 {
    kind.oid().map_or(0, |oid| oid.0)
}

/// Appends a value in the binary form of `kind`; false for null, which has none.
fn encode(value: &Value, kind: &PgTypeInfo, bytes: &mut Vec<u8>) -> Result<bool, String> {
    let narrow =
        |value: i64| format!("{value} is too large for the type {}; cast the placeholder as bigint", kind.name());
    match (value, number(kind)) {
        (Value::Null, _) => return Ok(false),
        (Value::Int(value), oid::INT8) => bytes.extend_from_slice(&value.to_be_bytes()),
        (Value::Int(value), oid::INT4) => {
            bytes.extend_from_slice(&i32::try_from(*value).map_err(|_| narrow(*value))?.to_be_bytes());
        }
        (Value::Int(value), oid::INT2) => {
            bytes.extend_from_slice(&i16::try_from(*value).map_err(|_| narrow(*value))?.to_be_bytes());
        }
        (Value::Int(value), oid::BOOL) => bytes.push(u8::from(*value != 0)),
        (Value::Int(value), oid::FLOAT8) => bytes.extend_from_slice(&(*value as f64).to_be_bytes()),
        (Value::Int(value), oid::NUMERIC) => encode_numeric(*value, bytes),
        (Value::Real(value), oid::FLOAT8) => bytes.extend_from_slice(&value.to_be_bytes()),
        (Value::Real(value), oid::FLOAT4) => bytes.extend_from_slice(&(*value as f32).to_be_bytes()),
        (Value::Text(value), oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN) => {
            if value.contains('\0') {
                return Err(NO_NUL.to_owned());
            }
            bytes.extend_from_slice(value.as_bytes());
        }
        (Value::Bytes(value), oid::BYTEA) => bytes.extend_from_slice(value),
        _ => return Err(format!("{} is no {}; cast the placeholder", name_of(value), kind.name())),
    }
    Ok(true)
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Int(_) => "an integer",
        Value::Real(_) => "a float",
        Value::Text(_) => "a text",
        Value::Bytes(_) => "bytes",
    }
}

/// The values of a row; an error names a type that has no common form.
pub(super) fn row_of(row: &PgRow) -> Result<Vec<Value>, String> {
    (0..row.len())
        .map(|index| {
            let value = row.try_get_raw(index).map_err(|error| error.to_string())?;
            if value.is_null() {
                return Ok(Value::Null);
            }
            let bytes = value.as_bytes().map_err(|error| error.to_string())?;
            let kind = value.type_info();
            decode(bytes, number(&kind))
                .ok_or_else(|| format!("column {index}: a value of type {} has no common form", kind.name()))
        })
        .collect()
}

fn decode(bytes: &[u8], kind: u32) -> Option<Value> {
    match kind {
        oid::INT8 => Some(Value::Int(i64::from_be_bytes(bytes.try_into().ok()?))),
        oid::INT4 => Some(Value::Int(i32::from_be_bytes(bytes.try_into().ok()?).into())),
        oid::INT2 => Some(Value::Int(i16::from_be_bytes(bytes.try_into().ok()?).into())),
        oid::BOOL => Some(Value::Int(i64::from(*bytes.first()? != 0))),
        oid::FLOAT8 => Some(Value::Real(f64::from_be_bytes(bytes.try_into().ok()?))),
        oid::FLOAT4 => Some(Value::Real(f32::from_be_bytes(bytes.try_into().ok()?).into())),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN => {
            String::from_utf8(bytes.to_vec()).ok().map(Value::Text)
        }
        oid::BYTEA => Some(Value::Bytes(bytes.to_vec())),
        oid::NUMERIC => decode_numeric(bytes),
        _ => None,
    }
}

// `numeric` is sent as four 16-bit numbers (how many digits, the weight of the first, the sign, how many decimals are
// shown) and digits to the base of 10,000: `src/backend/utils/adt/numeric.c`, `numeric_send`.

const BASE: u64 = 10_000;
const NEGATIVE: u16 = 0x4000;

fn encode_numeric(value: i64, bytes: &mut Vec<u8>) {
    let mut left = value.unsigned_abs();
    let mut digits = Vec::with_capacity(5);
    while left > 0 {
        digits.push((left % BASE) as u16);
        left /= BASE;
    }
    // At most five digits.
    let count = digits.len() as u16;
    let sign = if value < 0 { NEGATIVE } else { 0 };
    for part in [count, count.saturating_sub(1), sign, 0].into_iter().chain(digits.into_iter().rev()) {
        bytes.extend_from_slice(&part.to_be_bytes());
    }
}

/// A whole number that was counted as one is an integer; `None` if it does not fit.
fn decode_numeric(bytes: &[u8]) -> Option<Value> {
    let mut parts = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (_count, weight, sign, decimals) = (parts.next()?, parts.next()?.cast_signed(), parts.next()?, parts.next()?);
    let factor = match sign {
        0 => 1,
        NEGATIVE => -1,
        0xd000 => return Some(Value::Real(f64::INFINITY)),
        0xf000 => return Some(Value::Real(f64::NEG_INFINITY)),
        _ => return Some(Value::Real(f64::NAN)),
    };
    if decimals == 0 {
        let mut whole: i128 = 0;
        let mut digits = parts.fuse();
        for _ in 0..=weight {
            // Zeros at the end are not sent.
            whole = whole.checked_mul(i128::from(BASE))?.checked_add(i128::from(digits.next().unwrap_or(0)))?;
        }
        return i64::try_from(factor * whole).ok().map(Value::Int);
    }
    let mut real = 0.0;
    for (place, digit) in parts.enumerate() {
        real += f64::from(digit) * (BASE as f64).powi(i32::from(weight) - place as i32);
    }
    Some(Value::Real(f64::from(factor as i8) * real))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whole_numerics_come_back(value: i64) {
            let mut bytes = Vec::new();
            encode_numeric(value, &mut bytes);
            prop_assert_eq!(decode_numeric(&bytes), Some(Value::Int(value)));
        }

        #[test]
        fn no_bytes_break_the_decoder(bytes: Vec<u8>, kind in prop::sample::select(vec![16, 17, 20, 21, 23, 25, 700, 701, 1700, 9])) {
            let _ = decode(&bytes, kind);
        }
    }

    #[test]
    fn averages_are_reals_and_sums_are_integers() {
        // What PostgreSQL 15 sends for avg() of 1 and 2, and for sum() of 2^62 and 2^62 - 1.
        let average = [0, 2, 0, 0, 0, 0, 0, 16, 0, 1, 0x13, 0x88];
        assert_eq!(decode_numeric(&average), Some(Value::Real(1.5)));
        let mut sum = Vec::new();
        encode_numeric(i64::MAX, &mut sum);
        assert_eq!(decode_numeric(&sum), Some(Value::Int(9_223_372_036_854_775_807)));
    }

    #[test]
    fn what_is_not_of_the_type_is_refused() {
        let kind = |number| PgTypeInfo::with_oid(Oid(number));
        for (value, number) in [
            (Value::Int(1 << 40), oid::INT4),
            (Value::Int(1), oid::TEXT),
            (Value::from("1"), oid::INT8),
            (Value::from("a\0b"), oid::TEXT),
            (Value::Real(1.5), oid::INT8),
            (Value::Bytes(vec![1]), oid::TEXT),
        ] {
            assert!(encode(&value, &kind(number), &mut Vec::new()).is_err(), "{value:?} as {number}");
        }
    }
}
