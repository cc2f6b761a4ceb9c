//! Lists of keys or rows as one value of a statement: a batch costs a handful of statements, however many sensors and
//! recordings are in it, which matters on a server more than anything a statement does.
//!
//! The statement reads it with `json_each`: `value ->> 0` is the first item of an element. PostgreSQL has functions of
//! the same names (`schema_1.postgres.sql`), so the text is the same.

use antiphon_platform::db::Value;
use serde::Serialize;

/// A list whose elements are tuples or arrays of integers, text and nulls; bytes go as [`hex`].
pub(super) fn list<Item: Serialize>(items: &[Item]) -> Value {
    // Integers and text can always be written.
    Value::Text(serde_json::to_string(items).unwrap_or_default())
}

/// Bytes in a list; the statement reads them with `unhex`.
pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
