"""Reads answers of the range query, each written in every format, as data scientists do, and compares them with JSON.

A folder holds NAME.json (all rows), NAME.csv, NAME.arrow and NAME.parquet of the same query. Every reader must find the
values of JSON: the same f32, nulls where it has null, times at the same microsecond and in UTC, and the units, versions
and gaps that it tells. Prints how much was compared; ends with an error at the first difference.
"""

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = 1_000_000


class Case:
    """What JSON says."""

    def __init__(self, path: Path):
        self.page = json.loads(path.read_text())
        assert self.page["next"] is None, "all rows are on one page"
        self.is_song = self.page["source"]["kind"] == "song"
        self.columns = self.page["columns"]
        self.names = [column["name"] for column in self.columns]
        rows = self.page["rows"]
        self.rows = len(rows)
        self.times = [micros(row[0]) for row in rows]
        self.coverage = [row[1] for row in rows]
        # None where there is no value; else what is nearest in 32 bits to the decimal.
        self.values = {
            name: [None if row[place] is None else float(np.float32(row[place])) for row in rows]
            for place, name in enumerate(self.names)
            if place > 1
        }
        self.nulls = {name: sum(value is None for value in values) for name, values in self.values.items()}


def micros(time) -> int:
    """A time of JSON (UTC, or seconds of a song) in µs."""
    if isinstance(time, str):
        distance = datetime.fromisoformat(time) - EPOCH
        return (distance.days * 86_400 + distance.seconds) * MICROSECOND + distance.microseconds
    return round(time * MICROSECOND)


def equal(case: Case, reader: str, times, coverage, values) -> None:
    """Compares columns with JSON; `values` gives a column by its name, None where there is none."""
    assert list(times) == case.times, f"{reader}: times"
    assert list(coverage) == case.coverage, f"{reader}: coverage"
    for name, expected in case.values.items():
        found = list(values(name))
        assert not any(value is not None and value != value for value in found), f"{reader}: {name} has NaN"
        assert found == expected, f"{reader}: {name}: {found[:5]} instead of {expected[:5]}"


def without_nan(values) -> list:
    """pandas has NaN for null, unless asked otherwise."""
    return [None if value != value else float(value) for value in values]


def check_schema(case: Case, reader: str, schema: pa.Schema) -> None:
    assert schema.names == case.names, reader
    time = pa.duration("us") if case.is_song else pa.timestamp("us", tz="UTC")
    assert [field.type for field in schema] == [time, pa.float64()] + [pa.float32()] * len(case.values), (reader, schema)
    assert [field.nullable for field in schema] == [False, False] + [True] * len(case.values), reader
    for field, column in zip(schema, case.columns):
        told = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        told.pop("PARQUET:field_id", None)
        facts = {key: str(column[key]) for key in ("unit", "version", "feature", "stat") if key in column}
        assert told == facts, f"{reader}: {field.name}: {told} instead of {facts}"
    check_facts(case, reader, {key.decode(): value.decode() for key, value in schema.metadata.items()})


def check_facts(case: Case, reader: str, facts: dict) -> None:
    assert json.loads(facts["gaps"]) == case.page["gaps"], f"{reader}: gaps"
    assert json.loads(facts["source"]) == case.page["source"], reader
    assert (facts["resolution"], facts["revision"]) == (case.page["resolution"], case.page["revision"]), reader
    for end in ("from", "to"):
        told = json.loads(facts[end]) if case.is_song else facts[end]
        assert told == case.page[end], f"{reader}: {end}"


def check_pyarrow(case: Case, reader: str, table: pa.Table) -> None:
    check_schema(case, reader, table.schema)
    times = table["time"].cast(pa.int64()).to_pylist()
    equal(case, reader, times, table["coverage"].to_pylist(), lambda name: table[name].to_pylist())
    assert {name: table[name].null_count for name in case.values} == case.nulls, reader


def check_pandas(case: Case, reader: str, frame: pd.DataFrame) -> None:
    assert list(frame.columns) == case.names, reader
    time = "timedelta64[us]" if case.is_song else "datetime64[us, UTC]"
    types = [str(dtype) for dtype in frame.dtypes]
    assert types == [time, "float64"] + ["float32"] * len(case.values), (reader, types)
    times = frame["time"].astype("int64").tolist()
    equal(case, reader, times, frame["coverage"].tolist(), lambda name: without_nan(frame[name]))


def check_polars(case: Case, reader: str, frame: pl.DataFrame) -> None:
    assert frame.columns == case.names, reader
    time = pl.Duration("us") if case.is_song else pl.Datetime("us", "UTC")
    assert frame.dtypes == [time, pl.Float64] + [pl.Float32] * len(case.values), (reader, frame.schema)
    times = frame["time"].to_physical().to_list()
    equal(case, reader, times, frame["coverage"].to_list(), lambda name: frame[name].to_list())


def check_duckdb(case: Case, reader: str, relation: duckdb.DuckDBPyRelation, time: str) -> None:
    assert relation.columns == case.names, reader
    types = [str(kind) for kind in relation.types]
    assert types == [time, "DOUBLE"] + ["FLOAT"] * len(case.values), (reader, types)
    # As numbers, so that no zone of this machine comes in between.
    number = "time" if time == "BIGINT" else "epoch_us(time)"
    rows = relation.project(f"{number} AS time, * EXCLUDE (time)").fetchall()
    columns = list(zip(*rows)) or [()] * len(case.names)
    found = dict(zip(case.names, columns))
    equal(case, reader, found["time"], found["coverage"], lambda name: found[name])


def check_csv(case: Case, path: Path) -> None:
    is_time = [] if case.is_song else ["time"]
    types = {name: "float32" for name in case.values}
    frame = pd.read_csv(path, parse_dates=is_time, dtype=types)
    if case.rows:
        times = [round(time * MICROSECOND) for time in frame["time"]] if case.is_song else (
            frame["time"].dt.as_unit("us").astype("int64").tolist()
        )
        equal(case, "pandas, CSV", times, frame["coverage"].tolist(), lambda name: without_nan(frame[name]))
    assert list(frame.columns) == case.names
    overrides = {name: pl.Float32 for name in case.values} | {"coverage": pl.Float64}
    frame = pl.read_csv(path, try_parse_dates=True, schema_overrides=overrides)
    if case.rows:
        times = frame["time"].to_list()
        times = [round(t * MICROSECOND) for t in times] if case.is_song else frame["time"].dt.timestamp("us").to_list()
        equal(case, "polars, CSV", times, frame["coverage"].to_list(), lambda name: frame[name].to_list())
    kinds = {name: "FLOAT" for name in case.values} | {"coverage": "DOUBLE"}
    kinds["time"] = "DOUBLE" if case.is_song else "TIMESTAMPTZ"
    relation = duckdb.read_csv(str(path), header=True, sep=",", dtype=kinds)
    number = "round(time * 1000000)::BIGINT" if case.is_song else "epoch_us(time)"
    rows = relation.project(f"{number} AS time, * EXCLUDE (time)").fetchall()
    found = dict(zip(case.names, list(zip(*rows)) or [()] * len(case.names)))
    equal(case, "DuckDB, CSV", found["time"], found["coverage"], lambda name: found[name])


def check_kv(case: Case, path: Path) -> None:
    """Who reads Parquet without Arrow finds units beside the gaps."""
    rows = duckdb.sql(f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{path}')").fetchall()
    facts = dict(rows)
    check_facts(case, "DuckDB, Parquet", facts)
    assert json.loads(facts["columns"]) == case.columns


def check(folder: Path, name: str) -> Case:
    case = Case(folder / f"{name}.json")
    stream, file = folder / f"{name}.arrow", folder / f"{name}.parquet"
    arrow = pa.ipc.open_stream(stream.read_bytes()).read_all()
    parquet = pq.read_table(file)
    check_pyarrow(case, "pyarrow, Arrow", arrow)
    check_pyarrow(case, "pyarrow, Parquet", parquet)
    check_pandas(case, "pandas, Arrow", arrow.to_pandas())
    check_pandas(case, "pandas, Parquet", pd.read_parquet(file))
    check_polars(case, "polars, Arrow", pl.read_ipc_stream(stream))
    check_polars(case, "polars, Parquet", pl.read_parquet(file))
    instant = "TIMESTAMP WITH TIME ZONE"
    check_duckdb(case, "DuckDB, Arrow", duckdb.from_arrow(arrow), "INTERVAL" if case.is_song else instant)
    check_duckdb(case, "DuckDB, Parquet", duckdb.read_parquet(str(file)), "BIGINT" if case.is_song else instant)
    check_kv(case, file)
    check_csv(case, folder / f"{name}.csv")
    return case


def main() -> None:
    folder = Path(sys.argv[1])
    names = sorted(path.stem for path in folder.glob("*.json"))
    cases = []
    for name in names:
        try:
            cases.append(check(folder, name))
        except Exception as error:
            error.add_note(f"case {name}: {(folder / f'{name}.query').read_text()}")
            raise
    # Whatever its name says, a case is worth what was in it.
    print(json.dumps({
        "cases": len(cases),
        "rows": sum(case.rows for case in cases),
        "values": sum(case.rows * len(case.values) for case in cases),
        "nulls": sum(sum(case.nulls.values()) for case in cases),
        "gaps": sum(len(case.page["gaps"]) for case in cases),
        "empty": sum(case.rows == 0 for case in cases),
        "songs": sum(case.is_song for case in cases),
        "versions": sum(any("@" in name for name in case.names) for case in cases),
        "vectors": sum(any(name.endswith(".17") for name in case.names) for case in cases),
        "frames": sum(case.page["resolution"] == "frame" for case in cases),
    }))


if __name__ == "__main__":
    main()
