"""Compares what `antiphon analyze` wrote of some files in each format of tables with its JSON."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq


def whole(line: dict) -> dict:
    """Values of a whole file by name: of its columns, unless there is a summary of that name, and of its summaries."""
    summaries = {summary["name"]: summary["value"] for summary in line["summary"]}
    columns = dict(zip((column["name"] for column in line["columns"]), line["rows"][0]))
    return {name: value for name, value in columns.items() if name not in summaries} | summaries


def columns_of(line: dict, is_whole: bool, order: list) -> list:
    """What is told of each column of values; JSON has summaries in an order of its own, and a table that of the registry."""
    columns = [column for column in line["columns"] if column["name"] != "time"]
    if not is_whole:
        return columns
    summaries = [{"name": summary["name"], "unit": summary["unit"]} for summary in line["summary"]]
    names = [summary["name"] for summary in summaries]
    summaries.sort(key=lambda summary: order.index(summary["name"]))
    return [column for column in columns if column["name"] not in names] + summaries


def rows_of(lines: list, is_whole: bool, columns: list):
    """File, µs, and values of each row of JSON."""
    for line in lines:
        if is_whole:
            line = line | {"rows": [[whole(line)[column["name"]] for column in columns]]}
        for row in line["rows"]:
            time = line["duration"] if is_whole else row[0]
            values = row if is_whole else row[1:]
            values = [None if value is None else float(np.float32(value)) for value in values]
            yield [line["file"], round(time * 1_000_000), *values]


def check(folder: Path, name: str, time: str) -> tuple:
    lines = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    arrow = pa.ipc.open_stream((folder / f"{name}.arrow").read_bytes()).read_all()
    columns = columns_of(lines[0], name == "whole", arrow.schema.names)
    expected = list(rows_of(lines, name == "whole", columns))
    names = ["file", time, *(column["name"] for column in columns)]
    parquet = pq.read_table(folder / f"{name}.parquet")
    for table in (arrow, parquet):
        assert table.schema.names == names
        assert table.schema.field(time).type == pa.duration("us") and table.schema.field("file").type == pa.string()
        for column in columns:
            told = table.schema.field(column["name"]).metadata
            facts = {key.encode(): str(column[key]).encode() for key in ("unit", "version", "feature", "stat") if key in column}
            assert {key: told[key] for key in facts} == facts, column
        numbers = table.set_column(1, time, table[time].cast(pa.int64()))
        assert [list(row.values()) for row in numbers.to_pylist()] == expected
    frame = pl.read_parquet(folder / f"{name}.parquet").with_columns(pl.col(time).to_physical())
    assert [list(row) for row in frame.rows()] == expected
    frame = pd.read_csv(folder / f"{name}.csv", dtype={column["name"]: "float32" for column in columns})
    frame[time] = (frame[time] * 1_000_000).round().astype("int64")
    found = [[None if value != value else value for value in row] for row in frame.itertuples(index=False, name=None)]
    assert found == expected
    return len(expected), len(expected) * len(columns), len(lines)


def main() -> None:
    folder = Path(sys.argv[1])
    counts = zip(check(folder, "seconds", "time"), check(folder, "whole", "duration"))
    print(json.dumps(dict(zip(("rows", "values", "files"), map(sum, counts)))))


if __name__ == "__main__":
    main()
