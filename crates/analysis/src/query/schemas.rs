//! Schemas of values that are of more than one type, for the API's description: what programs are generated from must not say less
//! than is answered.

use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// The rows of a page: times are text (of a song numbers), the rest numbers or null.
pub(super) fn rows() -> RefOr<Schema> {
    let value = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Number, Type::Null]));
    ArrayBuilder::new()
        .description(Some("A row for each bucket (or frame): time, coverage, values or null, as `columns` names them."))
        .items(ArrayBuilder::new().items(value))
        .examples([json!([["2026-05-01T00:00:00.000000Z", 1.0, -31.2]])])
        .into()
}

/// A value of a whole song.
pub(super) fn summary_value() -> RefOr<Schema> {
    ObjectBuilder::new()
        .description(Some("A number, a word, or null."))
        .schema_type(SchemaType::from_iter([Type::Number, Type::String, Type::Null]))
        .examples([json!(-14.2)])
        .into()
}
