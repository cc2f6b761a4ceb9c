//! Tables as Parquet, by the crate's column writers: what it has for Arrow would have to be compiled too, and does no more
//! for flat columns.
//!
//! Rows are collected until they make a row group; of what was written only the places of column chunks are kept, to be
//! told at the end of the file.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::arrow::ArrowWriter;
use super::{Batch, Column, Field, Kind, Table, TableError};

/// Values of a row group, of all its columns together: about 8 MiB while they are collected. Readers take a group at a
/// time too, and more than a group of columns as wide as ours gains them nothing.
pub(crate) const GROUP: usize = 1 << 20;

/// Where readers that know Arrow look for the types, and the metadata of the columns.
const ARROW_SCHEMA: &str = "ARROW:schema";

pub(crate) struct ParquetWriter {
    file: SerializedFileWriter<Vec<u8>>,
    /// The row group that is being collected.
    group: Vec<Batch>,
    values: usize,
}

impl ParquetWriter {
    pub(crate) fn new(table: &Table) -> Result<Self, TableError> {
        let fields = table.fields.iter().map(column_type).collect::<Result<Vec<TypePtr>, _>>()?;
        let schema = Type::group_type_builder("antiphon").with_fields(fields).build()?;
        let file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties(table)?))?;
        Ok(Self { file, group: Vec::new(), values: 0 })
    }

    pub(crate) fn write(&mut self, batch: Batch) -> Result<Vec<u8>, TableError> {
        self.values += batch.rows * batch.columns.len();
        self.group.push(batch);
        if self.values >= GROUP {
            self.write_group()?;
        }
        self.file.flush().map_err(ParquetError::from)?;
        Ok(std::mem::take(self.file.inner_mut()))
    }

    pub(crate) fn finish(mut self) -> Result<Vec<u8>, TableError> {
        self.write_group()?;
        self.file.finish()?;
        Ok(std::mem::take(self.file.inner_mut()))
    }

    fn write_group(&mut self) -> Result<(), TableError> {
        let batches = std::mem::take(&mut self.group);
        if self.values == 0 {
            return Ok(());
        }
        self.values = 0;
        let mut group = self.file.next_row_group()?;
        let mut place = 0;
        while let Some(mut writer) = group.next_column()? {
            for batch in &batches {
                let column = batch.columns.get(place).ok_or(TableError(String::from("rows of another table")))?;
                write_column(&mut writer, column)?;
            }
            writer.close()?;
            place += 1;
        }
        group.close()?;
        Ok(())
    }
}

/// A column as Parquet knows it.
fn column_type(field: &Field) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match field.kind {
        Kind::Instant => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        // Parquet has no durations; readers that know Arrow learn it from the schema of Arrow.
        Kind::Elapsed => (Physical::INT64, None),
        Kind::Number => (Physical::DOUBLE, None),
        Kind::Value => (Physical::FLOAT, None),
        Kind::Count => (Physical::INT32, Some(LogicalType::integer(32, false))),
        Kind::Text | Kind::Words => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let repetition = if field.kind.has_gaps() { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let column = Type::primitive_type_builder(&field.name, physical).with_logical_type(logical);
    Ok(Arc::new(column.with_repetition(repetition).build()?))
}

fn properties(table: &Table) -> Result<WriterProperties, TableError> {
    // The message that begins an Arrow stream is the schema of Arrow, in the form in which Parquet files carry it.
    let (_, arrow_schema) = ArrowWriter::new(table)?;
    let facts = table.metadata().chain([
        (String::from("columns"), table.json_columns().to_string()),
        (ARROW_SCHEMA.to_owned(), STANDARD.encode(arrow_schema)),
    ]);
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("antiphon ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(facts.map(|(name, fact)| KeyValue::new(name, fact)).collect()))
        .set_compression(Compression::SNAPPY)
        // A dictionary of each column would be held while a group is written, and measured values hardly repeat.
        .set_dictionary_enabled(false)
        // Of pages, statistics would be held until the end of the file.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    for field in &table.fields {
        let column = ColumnPath::from(field.name.as_str());
        properties = match field.kind {
            // Times are equally far apart, nearly always.
            Kind::Instant | Kind::Elapsed => properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED),
            Kind::Text | Kind::Words | Kind::Number => properties.set_column_dictionary_enabled(column, true),
            Kind::Value | Kind::Count => properties,
        };
    }
    Ok(properties.build())
}

fn write_column(writer: &mut SerializedColumnWriter<'_>, column: &Column) -> Result<(), ParquetError> {
    match column {
        Column::Micros(values) => writer.typed::<Int64Type>().write_batch(values, None, None)?,
        Column::Numbers(values) => writer.typed::<DoubleType>().write_batch(values, None, None)?,
        Column::Values(values) => {
            let is_there = is_there(values);
            let there: Vec<f32> = values.iter().flatten().copied().collect();
            writer.typed::<FloatType>().write_batch(&there, Some(&is_there), None)?
        }
        Column::Counts(values) => {
            // Parquet's unsigned numbers are the same bits.
            let values: Vec<i32> = values.iter().map(|value| value.cast_signed()).collect();
            writer.typed::<Int32Type>().write_batch(&values, None, None)?
        }
        Column::Texts(values) => {
            let values: Vec<ByteArray> = values.iter().map(|value| ByteArray::from(value.as_str())).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, None, None)?
        }
        Column::Words(values) => {
            let there: Vec<ByteArray> = values.iter().flatten().map(|value| ByteArray::from(value.as_str())).collect();
            writer.typed::<ByteArrayType>().write_batch(&there, Some(&is_there(values)), None)?
        }
    };
    Ok(())
}

/// The definition levels of values that may not exist.
fn is_there<T>(values: &[Option<T>]) -> Vec<i16> {
    values.iter().map(|value| i16::from(value.is_some())).collect()
}

impl From<ParquetError> for TableError {
    fn from(error: ParquetError) -> Self {
        Self(error.to_string())
    }
}
