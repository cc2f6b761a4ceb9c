"""Reads a year of minutes in each format; prints its rows if all are equal, a minute apart and complete."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq


def main() -> None:
    folder = Path(sys.argv[1])
    arrow = pa.ipc.open_stream((folder / "year.arrow").read_bytes()).read_all()
    parquet = pq.ParquetFile(folder / "year.parquet")
    table = parquet.read()
    assert arrow.schema.equals(table.schema)
    assert arrow.equals(table)
    csv = pd.read_csv(folder / "year.csv", parse_dates=["time"])
    frame = table.to_pandas()
    assert list(csv.columns) == list(frame.columns)
    assert (csv["time"].dt.as_unit("us") == frame["time"]).all()
    for name in csv.columns[1:]:
        assert np.array_equal(csv[name].astype(frame[name].dtype), frame[name], equal_nan=True), name
    assert (frame["time"].diff().dropna() == pd.Timedelta(minutes=1)).all()
    assert not frame.isna().any().any()
    print(json.dumps({"rows": len(frame), "columns": len(frame.columns), "groups": parquet.num_row_groups}))


if __name__ == "__main__":
    main()
