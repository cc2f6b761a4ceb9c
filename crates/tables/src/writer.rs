//! The formats of whole tables, and what writes them.

use std::sync::Arc;

use super::arrow::ArrowWriter;
use super::parquet::ParquetWriter;
use super::text::csv_head;
use super::{Batch, Table, TableError};

/// A format of whole tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180 with a header, lines end in LF.
    Csv,
    /// The streaming format of Arrow IPC, a record batch for each [`Batch`].
    Arrow,
    /// Parquet, columns compressed with Snappy.
    Parquet,
}

impl Format {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Arrow, Self::Parquet];

    /// Its name in the API and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// Its media type, without parameters.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// What its files are called, after the dot; for Arrow as its media type is registered.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Arrow => "arrows",
            Self::Parquet => "parquet",
        }
    }
}

/// Writes a table, batch after batch; the bytes of all calls, one after the other, are the file.
pub struct Writer {
    /// Bytes that come before those of the next batch.
    head: Vec<u8>,
    body: Body,
}

enum Body {
    Csv,
    Arrow(Box<ArrowWriter>),
    Parquet(Box<ParquetWriter>),
}

impl Writer {
    /// Begins a table.
    ///
    /// # Errors
    /// When the columns cannot be described.
    pub fn new(format: Format, table: &Arc<Table>) -> Result<Self, TableError> {
        Ok(match format {
            Format::Csv => Self { head: csv_head(table).into_bytes(), body: Body::Csv },
            Format::Arrow => {
                let (writer, head) = ArrowWriter::new(table)?;
                Self { head, body: Body::Arrow(Box::new(writer)) }
            }
            Format::Parquet => Self { head: Vec::new(), body: Body::Parquet(Box::new(ParquetWriter::new(table)?)) },
        })
    }

    /// The next rows; the bytes that are ready, which may be none: Parquet collects rows.
    ///
    /// # Errors
    /// When the batch is not of the table.
    pub fn write(&mut self, batch: Batch) -> Result<Vec<u8>, TableError> {
        let bytes = match &mut self.body {
            Body::Csv => batch.csv_rows().into_bytes(),
            Body::Arrow(writer) => writer.write(&batch)?,
            Body::Parquet(writer) => writer.write(batch)?,
        };
        Ok(self.after_head(bytes))
    }

    /// The end of the table. Without it an Arrow stream has no end mark, and a Parquet file no columns.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(mut self) -> Result<Vec<u8>, TableError> {
        let body = std::mem::replace(&mut self.body, Body::Csv);
        let bytes = match body {
            Body::Csv => Vec::new(),
            Body::Arrow(writer) => writer.finish()?,
            Body::Parquet(writer) => writer.finish()?,
        };
        Ok(self.after_head(bytes))
    }

    fn after_head(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.head.is_empty() {
            return bytes;
        }
        let mut all = std::mem::take(&mut self.head);
        all.extend(bytes);
        all
    }
}
