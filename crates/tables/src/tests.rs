use std::collections::HashMap;

use ::parquet::basic::{Encoding, LogicalType};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field as Cell;
use arrow_array::cast::AsArray;
use arrow_array::types::{DurationMicrosecondType, Float32Type, Float64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A column of every kind.
fn table() -> Arc<Table> {
    let level = Field {
        feature: Some(String::from("level")),
        version: Some(3),
        stat: Some(String::from("l90")),
        ..Field::new("level.a:l90", Kind::Value).unit("dBFS")
    };
    let fields = vec![
        Field::new("time", Kind::Instant),
        Field::new("length", Kind::Elapsed).unit("s"),
        Field::new("coverage", Kind::Number).unit("1"),
        level,
        Field::new("version", Kind::Count),
        Field::new("a, \"b\"", Kind::Text),
    ];
    let facts = vec![("resolution", json!("1m")), ("gaps", json!([{"from": 1.5, "to": 2}]))];
    Arc::new(Table { fields, facts })
}

/// The cells of one row of it.
type Cells = (i64, i64, f64, Option<f32>, u32, String);

fn batch(table: &Arc<Table>, rows: &[Cells]) -> Batch {
    let columns = vec![
        Column::Micros(rows.iter().map(|row| row.0).collect()),
        Column::Micros(rows.iter().map(|row| row.1).collect()),
        Column::Numbers(rows.iter().map(|row| row.2).collect()),
        Column::values(rows.iter().map(|row| row.3)),
        Column::Counts(rows.iter().map(|row| row.4).collect()),
        Column::Texts(rows.iter().map(|row| row.5.clone()).collect()),
    ];
    table.batch(columns).unwrap()
}

fn file(format: Format, table: &Arc<Table>, batches: &[&[Cells]]) -> Vec<u8> {
    let mut writer = Writer::new(format, table).unwrap();
    let mut bytes: Vec<u8> = batches.iter().flat_map(|rows| writer.write(batch(table, rows)).unwrap()).collect();
    bytes.extend(writer.finish().unwrap());
    bytes
}

fn cells_of_arrow(batch: &RecordBatch) -> Vec<Cells> {
    let value = batch.column(3).as_primitive::<Float32Type>();
    (0..batch.num_rows())
        .map(|row| {
            (
                batch.column(0).as_primitive::<TimestampMicrosecondType>().value(row),
                batch.column(1).as_primitive::<DurationMicrosecondType>().value(row),
                batch.column(2).as_primitive::<Float64Type>().value(row),
                value.is_valid(row).then(|| value.value(row)),
                batch.column(4).as_primitive::<UInt32Type>().value(row),
                batch.column(5).as_string::<i32>().value(row).to_owned(),
            )
        })
        .collect()
}

fn cells_of_parquet(reader: &SerializedFileReader<Bytes>) -> Vec<Cells> {
    let cells = |row: ::parquet::record::Row| {
        let cells: Vec<Cell> = row.into_columns().into_iter().map(|(_, cell)| cell).collect();
        match <[Cell; 6]>::try_from(cells).unwrap() {
            [Cell::TimestampMicros(a), Cell::Long(b), Cell::Double(c), value, Cell::UInt(e), Cell::Str(f)] => {
                let value = match value {
                    Cell::Float(value) => Some(value),
                    Cell::Null => None,
                    other => panic!("{other:?}"),
                };
                (a, b, c, value, e, f)
            }
            other => panic!("{other:?}"),
        }
    };
    reader.get_row_iter(None).unwrap().map(|row| cells(row.unwrap())).collect()
}

fn parquet_reader(bytes: Vec<u8>) -> SerializedFileReader<Bytes> {
    SerializedFileReader::new(Bytes::from(bytes)).unwrap()
}

fn row(number: i64) -> Cells {
    (number * 1_000_000, number, 1.0, (number % 3 > 0).then_some(number as f32 / 7.0), 1, String::from("roof"))
}

#[test]
fn text_has_no_exponent_and_says_what_is_missing() {
    let table = table();
    let rows = [
        (0, 1_500_000, 1.0, Some(-31.2), 1, String::from("plain")),
        (-1, 60_000_000, 0.333_333, None, 2, String::from("of, \"two\"\nlines")),
        (1, -2_000_001, 0.000_001, Some(1e-7), 3, String::new()),
        (2, 0, 0.0, Some(1e20), 4, String::new()),
    ];
    let csv = String::from_utf8(file(Format::Csv, &table, &[&rows[..2], &[], &rows[2..]])).unwrap();
    assert_eq!(
        csv,
        "time,length,coverage,level.a:l90,version,\"a, \"\"b\"\"\"\n\
         1970-01-01T00:00:00.000000Z,1.5,1.0,-31.2,1,plain\n\
         1969-12-31T23:59:59.999999Z,60,0.333333,,2,\"of, \"\"two\"\"\nlines\"\n\
         1970-01-01T00:00:00.000001Z,-2.000001,0.000001,0.0000001,3,\n\
         1970-01-01T00:00:00.000002Z,0,0.0,100000000000000000000,4,\n"
    );
    let batch = batch(&table, &rows[..2]);
    assert_eq!(
        batch.json_rows(true),
        "[\"1970-01-01T00:00:00.000000Z\",1.5,1.0,-31.2,1,\"plain\"],\
         [\"1969-12-31T23:59:59.999999Z\",60,0.333333,null,2,\"of, \\\"two\\\"\\nlines\"]"
    );
    assert!(batch.json_rows(false).starts_with(",["));
    assert_eq!(
        table.json_columns()[3],
        json!({"name": "level.a:l90", "feature": "level", "version": 3, "unit": "dBFS", "stat": "l90"})
    );
}

#[test]
fn seconds_are_the_shortest_decimal() {
    let written = [0, 1_500_000, 2_000_001, 60_000_000, -250_000, i64::MIN].map(seconds);
    assert_eq!(written, ["0", "1.5", "2.000001", "60", "-0.25", "-9223372036854.775808"]);
}

#[test]
fn a_batch_fits_its_table() {
    let table = Arc::new(Table {
        fields: vec![Field::new("time", Kind::Instant), Field::new("level", Kind::Value)],
        facts: Vec::new(),
    });
    let two = || Column::Micros(vec![1, 2]);
    assert_eq!(table.batch(vec![two(), Column::values([None, Some(1.0)])]).unwrap().rows(), 2);
    assert!(table.batch(vec![two()]).is_err(), "a column is missing");
    assert!(table.batch(vec![two(), Column::values([None])]).is_err(), "columns differ in length");
    assert!(table.batch(vec![two(), two()]).is_err(), "a column of another kind");
    let other = batch(&self::table(), &[row(1)]);
    assert!(Writer::new(Format::Arrow, &table).unwrap().write(other).is_err(), "rows of another table");
}

#[test]
fn what_is_not_finite_does_not_exist() {
    let table = Arc::new(Table { fields: vec![Field::new("x", Kind::Value)], facts: Vec::new() });
    let values = [Some(f32::NAN), Some(f32::INFINITY), None, Some(f32::MIN)];
    let batch = table.batch(vec![Column::values(values)]).unwrap();
    assert_eq!(batch.json_rows(true), format!("[null],[null],[null],[{}]", f32::MIN));
}

#[test]
fn words_that_do_not_exist_are_told_from_empty_ones() {
    let table = Arc::new(Table { fields: vec![Field::new("key", Kind::Words)], facts: Vec::new() });
    let words = [Some(String::from("A minor")), None, Some(String::new())];
    let rows = || table.batch(vec![Column::Words(words.to_vec())]).unwrap();
    assert_eq!(rows().json_rows(true), r#"["A minor"],[null],[""]"#);
    let file = |format| {
        let mut writer = Writer::new(format, &table).unwrap();
        let mut bytes = writer.write(rows()).unwrap();
        bytes.extend(writer.finish().unwrap());
        bytes
    };
    assert_eq!(file(Format::Csv), b"key\nA minor\n\n\n");
    let arrow = file(Format::Arrow);
    let batch = StreamReader::try_new(arrow.as_slice(), None).unwrap().next().unwrap().unwrap();
    let found: Vec<Option<&str>> = batch.column(0).as_string::<i32>().iter().collect();
    assert_eq!(found, [Some("A minor"), None, Some("")]);
    let parquet = parquet_reader(file(Format::Parquet));
    let found: Vec<Cell> =
        parquet.get_row_iter(None).unwrap().map(|row| row.unwrap().into_columns().remove(0).1).collect();
    assert_eq!(found, [Cell::Str(String::from("A minor")), Cell::Null, Cell::Str(String::new())]);
}

#[test]
fn arrow_tells_types_units_and_what_holds_for_all() {
    let table = table();
    let bytes = file(Format::Arrow, &table, &[]);
    let reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
    let schema = reader.schema();
    let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let elapsed = DataType::Duration(TimeUnit::Microsecond);
    assert_eq!(types, [&instant, &elapsed, &DataType::Float64, &DataType::Float32, &DataType::UInt32, &DataType::Utf8]);
    let nullable: Vec<bool> = schema.fields().iter().map(|field| field.is_nullable()).collect();
    assert_eq!(nullable, [false, false, false, true, false, false]);
    let of = |index: usize| -> HashMap<String, String> {
        schema.field(index).metadata().iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let facts = [("feature", "level"), ("version", "3"), ("unit", "dBFS"), ("stat", "l90")];
    assert_eq!(of(3), facts.map(|(name, fact)| (name.to_owned(), fact.to_owned())).into());
    assert!(of(0).is_empty() && of(1).is_empty(), "their types tell the unit of times");
    assert_eq!(schema.metadata()["resolution"], "1m");
    assert_eq!(schema.metadata()["gaps"], r#"[{"from":1.5,"to":2}]"#);
    assert_eq!(reader.count(), 0);
}

#[test]
fn parquet_tells_the_same_and_is_written_in_groups() {
    let table = table();
    let rows: Vec<Cells> = (0..400_000).map(row).collect();
    let batches: Vec<&[Cells]> = rows.chunks(3_600).collect();
    let mut writer = Writer::new(Format::Parquet, &table).unwrap();
    let (mut bytes, mut ready) = (Vec::new(), 0);
    for rows in &batches {
        let more = writer.write(batch(&table, rows)).unwrap();
        ready += usize::from(!more.is_empty());
        bytes.extend(more);
    }
    assert_eq!(ready, 1 + 2, "the first four bytes, and every group when it is complete");
    bytes.extend(writer.finish().unwrap());
    let reader = parquet_reader(bytes);
    let metadata = reader.metadata();
    assert_eq!(metadata.num_row_groups(), 3);
    let facts: HashMap<&str, &str> = metadata
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .iter()
        .map(|fact| (fact.key.as_str(), fact.value.as_deref().unwrap()))
        .collect();
    assert_eq!((facts["resolution"], facts["gaps"]), ("1m", r#"[{"from":1.5,"to":2}]"#));
    assert_eq!(facts["columns"], table.json_columns().to_string());
    assert!(facts.contains_key("ARROW:schema"));
    let group = metadata.row_group(0);
    let time = group.column(0);
    assert!(time.encodings().any(|encoding| encoding == Encoding::DELTA_BINARY_PACKED));
    assert!(time.column_descr().logical_type_ref().is_some_and(|logical| matches!(logical, LogicalType::Timestamp(_))));
    assert!(time.compressed_size() * 20 < time.num_values() * 8, "times that are equally far apart take no place");
    assert_eq!(cells_of_parquet(&reader), rows);
}

#[test]
fn a_table_without_rows_is_whole() {
    let table = table();
    for batches in [&[] as &[&[Cells]], &[&[]]] {
        assert_eq!(file(Format::Csv, &table, batches).iter().filter(|byte| **byte == b'\n').count(), 1);
        let arrow = file(Format::Arrow, &table, batches);
        let rows: usize =
            StreamReader::try_new(arrow.as_slice(), None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 0);
        let reader = parquet_reader(file(Format::Parquet, &table, batches));
        assert_eq!((reader.metadata().num_row_groups(), cells_of_parquet(&reader)), (0, Vec::new()));
    }
}

fn finite() -> impl Strategy<Value = f32> {
    any::<f32>().prop_filter("finite", |value| value.is_finite())
}

fn cells() -> impl Strategy<Value = Cells> {
    let coverage = (0..=1_000_000_u32).prop_map(|share| f64::from(share) / 1e6);
    (any::<i64>(), any::<i64>(), coverage, prop::option::of(finite()), any::<u32>(), ".{0,8}")
}

proptest! {
    #[test]
    fn a_number_reads_as_the_same(value in finite()) {
        let mut text = String::new();
        push_value(&mut text, value);
        prop_assert!(!text.contains('e') && !text.contains('E'));
        prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), value.to_bits());
    }

    #[test]
    fn every_format_holds_the_same_rows(batches in prop::collection::vec(prop::collection::vec(cells(), 0..20), 0..4)) {
        let table = table();
        let batches: Vec<&[Cells]> = batches.iter().map(Vec::as_slice).collect();
        let rows = batches.concat();
        let arrow = file(Format::Arrow, &table, &batches);
        let read = StreamReader::try_new(arrow.as_slice(), None).unwrap();
        prop_assert_eq!(&read.flat_map(|batch| cells_of_arrow(&batch.unwrap())).collect::<Vec<_>>(), &rows);
        prop_assert_eq!(&cells_of_parquet(&parquet_reader(file(Format::Parquet, &table, &batches))), &rows);
        let json: String = batches.iter().map(|rows| batch(&table, rows).json_rows(false)).collect();
        let json: Vec<Vec<Value>> = serde_json::from_str(&format!("[{}]", json.trim_start_matches(','))).unwrap();
        prop_assert_eq!(json.len(), rows.len());
        for (json, row) in json.iter().zip(&rows) {
            prop_assert_eq!(json[2].as_f64(), Some(row.2));
            prop_assert_eq!(json[3].as_f64().map(|value| value as f32), row.3);
            prop_assert_eq!((json[4].as_u64(), json[5].as_str()), (Some(row.4.into()), Some(row.5.as_str())));
        }
    }
}
