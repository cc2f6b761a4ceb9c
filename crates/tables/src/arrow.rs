//! Tables as streams of Arrow IPC (format version 5, not compressed).

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, DurationMicrosecondArray, Float32Array, Float64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef, TimeUnit};

use super::{Batch, Column, Field, Kind, Table, TableError};

/// The zone of all instants.
const ZONE: &str = "UTC";

pub(crate) struct ArrowWriter {
    schema: SchemaRef,
    stream: StreamWriter<Vec<u8>>,
}

impl ArrowWriter {
    /// A writer, and the beginning of its stream: the message that holds the schema.
    pub(crate) fn new(table: &Table) -> Result<(Self, Vec<u8>), TableError> {
        let schema = Arc::new(schema(table));
        let mut stream = StreamWriter::try_new(Vec::new(), &schema)?;
        let head = std::mem::take(stream.get_mut());
        Ok((Self { schema, stream }, head))
    }

    pub(crate) fn write(&mut self, batch: &Batch) -> Result<Vec<u8>, TableError> {
        let kinds = batch.table.fields.iter().map(|field| field.kind);
        let arrays = batch.columns.iter().zip(kinds).map(|(column, kind)| array(column, kind)).collect();
        self.stream.write(&RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)?;
        Ok(std::mem::take(self.stream.get_mut()))
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, TableError> {
        Ok(self.stream.into_inner()?)
    }
}

fn schema(table: &Table) -> Schema {
    let fields: Vec<arrow_schema::Field> = table.fields.iter().map(field).collect();
    Schema::new_with_metadata(fields, table.metadata().collect::<HashMap<_, _>>())
}

fn field(field: &Field) -> arrow_schema::Field {
    let data_type = match field.kind {
        Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into())),
        Kind::Elapsed => DataType::Duration(TimeUnit::Microsecond),
        Kind::Number => DataType::Float64,
        Kind::Value => DataType::Float32,
        Kind::Count => DataType::UInt32,
        Kind::Text | Kind::Words => DataType::Utf8,
    };
    // The type tells the unit of times.
    let unit = field.unit.clone().filter(|_| !matches!(field.kind, Kind::Instant | Kind::Elapsed));
    let facts = [
        ("feature", field.feature.clone()),
        ("version", field.version.map(|version| version.to_string())),
        ("unit", unit),
        ("stat", field.stat.clone()),
    ];
    let metadata: HashMap<String, String> =
        facts.into_iter().filter_map(|(name, fact)| Some((name.to_owned(), fact?))).collect();
    arrow_schema::Field::new(&field.name, data_type, field.kind.has_gaps()).with_metadata(metadata)
}

fn array(column: &Column, kind: Kind) -> ArrayRef {
    match (column, kind) {
        (Column::Micros(values), Kind::Instant) => {
            Arc::new(TimestampMicrosecondArray::from(values.clone()).with_timezone(ZONE))
        }
        (Column::Micros(values), _) => Arc::new(DurationMicrosecondArray::from(values.clone())),
        (Column::Numbers(values), _) => Arc::new(Float64Array::from(values.clone())),
        (Column::Values(values), _) => Arc::new(Float32Array::from(values.clone())),
        (Column::Counts(values), _) => Arc::new(UInt32Array::from(values.clone())),
        (Column::Texts(values), _) => Arc::new(StringArray::from_iter_values(values)),
        (Column::Words(values), _) => Arc::new(StringArray::from_iter(values)),
    }
}

impl From<ArrowError> for TableError {
    fn from(error: ArrowError) -> Self {
        Self(error.to_string())
    }
}
