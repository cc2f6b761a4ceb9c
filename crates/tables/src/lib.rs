//! Tables: typed columns that are written batch after batch, as CSV, as an Arrow IPC stream, as Parquet, and as the rows
//! of a JSON page.
//!
//! A [`Table`] says which columns there are; a [`Batch`] is some of its rows. Whoever answers with rows makes batches, and
//! [`Writer`] or [`Batch::json_rows`] turn the same batches into every format, so that no format can say anything else
//! than the others. A writer holds a bounded number of rows, however long the table is.

mod arrow;
mod parquet;
#[cfg(test)]
mod tests;
mod text;
mod writer;

use std::sync::Arc;

use antiphon_platform::http::Problem;
use serde_json::{Map, Value};

pub use text::{push_value, seconds};
pub use writer::{Format, Writer};

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Instants, in µs since 1970. Text shows RFC 3339 in UTC, Arrow and Parquet a timestamp(us, UTC).
    Instant,
    /// Lengths and distances from a start, in µs. Text shows seconds, Arrow a duration(us), Parquet its µs.
    Elapsed,
    /// Numbers that always exist, as f64.
    Number,
    /// Numbers that may not exist, as f32.
    Value,
    /// Counts and versions.
    Count,
    /// Text.
    Text,
    /// Text that may not exist.
    Words,
}

impl Kind {
    /// Whether some of the values may not exist.
    fn has_gaps(self) -> bool {
        matches!(self, Self::Value | Self::Words)
    }
}

/// A column: its name, the type of its values, and what they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name, such as `time`, `coverage`, `level.a:l90`.
    pub name: String,
    /// The type of its values.
    pub kind: Kind,
    /// The algorithm that its values are of.
    pub feature: Option<String>,
    /// The algorithm's version.
    pub version: Option<u32>,
    /// The unit of its values; of [`Kind::Instant`] and [`Kind::Elapsed`] their type tells it where there are types.
    pub unit: Option<String>,
    /// What was merged over each row.
    pub stat: Option<String>,
}

impl Field {
    /// A column of which only the name and the type are told.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, feature: None, version: None, unit: None, stat: None }
    }

    /// With a unit.
    #[must_use]
    pub fn unit(self, unit: impl Into<String>) -> Self {
        Self { unit: Some(unit.into()), ..self }
    }

    /// As it stands in the `columns` of a JSON page.
    fn json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        };
        put("name", Some(self.name.clone().into()));
        put("feature", self.feature.clone().map(Value::from));
        put("version", self.version.map(Value::from));
        put("unit", self.unit.clone().map(Value::from));
        put("stat", self.stat.clone().map(Value::from));
        Value::Object(object)
    }
}

/// What a table is: its columns, and what holds for all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns, in order.
    pub fields: Vec<Field>,
    /// Names and values of what holds for the whole table: metadata of Arrow and Parquet, where what is no text stands as
    /// JSON. CSV cannot say it.
    pub facts: Vec<(&'static str, Value)>,
}

impl Table {
    /// The columns, as they stand in a JSON page.
    #[must_use]
    pub fn json_columns(&self) -> Value {
        self.fields.iter().map(Field::json).collect()
    }

    /// Rows of this table, column by column.
    ///
    /// # Errors
    /// When they are not as many columns as the table has, of the same kinds, all equally long.
    pub fn batch(self: &Arc<Self>, columns: Vec<Column>) -> Result<Batch, TableError> {
        let rows = columns.first().map_or(0, Column::len);
        let fits = columns.len() == self.fields.len()
            && columns.iter().zip(&self.fields).all(|(column, field)| column.fits(field.kind) && column.len() == rows);
        if !fits {
            return Err(TableError(String::from("columns that are not those of their table")));
        }
        Ok(Batch { table: Arc::clone(self), columns, rows })
    }

    /// What holds for the whole table, as text.
    fn metadata(&self) -> impl Iterator<Item = (String, String)> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.facts.iter().map(move |(name, value)| ((*name).to_owned(), text(value)))
    }
}

/// The values of one column in some rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Of [`Kind::Instant`] and [`Kind::Elapsed`].
    Micros(Vec<i64>),
    /// Of [`Kind::Number`].
    Numbers(Vec<f64>),
    /// Of [`Kind::Value`].
    Values(Vec<Option<f32>>),
    /// Of [`Kind::Count`].
    Counts(Vec<u32>),
    /// Of [`Kind::Text`].
    Texts(Vec<String>),
    /// Of [`Kind::Words`].
    Words(Vec<Option<String>>),
}

impl Column {
    /// Values that may not exist. One that is not finite does not: a table has no NaN.
    pub fn values(values: impl IntoIterator<Item = Option<f32>>) -> Self {
        Self::Values(values.into_iter().map(|value| value.filter(|value| value.is_finite())).collect())
    }

    fn len(&self) -> usize {
        match self {
            Self::Micros(values) => values.len(),
            Self::Numbers(values) => values.len(),
            Self::Values(values) => values.len(),
            Self::Counts(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Words(values) => values.len(),
        }
    }

    fn fits(&self, kind: Kind) -> bool {
        matches!(
            (self, kind),
            (Self::Micros(_), Kind::Instant | Kind::Elapsed)
                | (Self::Numbers(_), Kind::Number)
                | (Self::Values(_), Kind::Value)
                | (Self::Counts(_), Kind::Count)
                | (Self::Texts(_), Kind::Text)
                | (Self::Words(_), Kind::Words)
        )
    }
}

/// Some rows of a table, which fit it: made by [`Table::batch`].
#[derive(Clone, Debug)]
pub struct Batch {
    table: Arc<Table>,
    columns: Vec<Column>,
    rows: usize,
}

impl Batch {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// Why a table cannot be written: a fault of ours, never of what is in it.
#[derive(Debug, thiserror::Error)]
#[error("a table cannot be written: {0}")]
pub struct TableError(String);

impl From<TableError> for Problem {
    fn from(error: TableError) -> Self {
        tracing::error!(error = %error, "request failed: table");
        Self::internal()
    }
}
