# %% [markdown]
# # A day of sound
#
# What a sensor heard in a day, in a notebook: with pandas, polars and DuckDB, and with nothing of Antiphon's own. The
# range query answers with tables that these read as they are, so no client library stands in between.
#
# `ANTIPHON_SERVER` and `ANTIPHON_KEY` say whom to ask and with which key, as they do for the command `antiphon`. The
# sensor and the day are the first lines to change.

# %%
import json
import os
from urllib.request import Request, urlopen

import duckdb
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

SERVER = os.environ.get("ANTIPHON_SERVER", "http://127.0.0.1:8470")
KEY = os.environ.get("ANTIPHON_KEY")  # not needed where reads are public
HEADERS = {"Authorization": f"Bearer {KEY}"} if KEY else {}

SENSOR = os.environ.get("SENSOR", "street")
# Its days are those of its own zone.
ZONE = json.load(urlopen(Request(f"{SERVER}/api/v1/sensors/{SENSOR}", headers=HEADERS)))["timezone"] or "UTC"
START = pd.Timestamp(os.environ.get("DAY", "2026-05-01"), tz=ZONE)
END = START + pd.DateOffset(days=1)
FEATURES = f"{SERVER}/api/v1/sensors/{SENSOR}/features?from={START.isoformat()}&to={END.isoformat()}"

# %% [markdown]
# ## A range in one line
#
# Of pandas, a day of minutes: mean level, and the level that was exceeded 90 % of the time. Times are in UTC and know
# it; what does not exist is missing.

# %%
minutes = pd.read_parquet(f"{FEATURES}&resolution=1m&stat=leq,l90&format=parquet", storage_options=HEADERS)

print(minutes.dtypes)
minutes.describe()

# %% [markdown]
# Of polars, from the same address; without a key, `pl.read_ipc_stream(URL)` is all:

# %%
answer = urlopen(Request(f"{FEATURES}&resolution=1m&stat=leq,l90&format=arrow", headers=HEADERS))
table = pl.read_ipc_stream(answer.read())

table.head()

# %% [markdown]
# ## What the columns are, and what was not heard
#
# Units, versions of the algorithms and gaps travel with the table. Nothing that was not heard is ever guessed: a minute
# that nobody heard has no row, and the gaps say from when to when.

# %%
arrow = pa.ipc.open_stream(urlopen(Request(f"{FEATURES}&resolution=1m&format=arrow", headers=HEADERS))).read_all()
level = arrow.schema.field("level.a")
gaps = pd.DataFrame(json.loads(arrow.schema.metadata[b"gaps"])).apply(pd.to_datetime)

print({name.decode(): fact.decode() for name, fact in level.metadata.items()})
print(gaps.assign(length=gaps["to"] - gaps["from"]))

# %% [markdown]
# ## Level per hour
#
# The server merges hours itself, of energies and of counts, aligned to the clock of the zone. `fill=gaps` gives hours
# that nobody heard a row too, without values.

# %%
hours = pd.read_parquet(
    f"{FEATURES}&resolution=1h&stat=leq,l10,l90&tz={ZONE}&fill=gaps&format=parquet", storage_options=HEADERS
)
local = hours["time"].dt.tz_convert(ZONE)

figure = plt.figure("level-per-hour", figsize=(8, 3.2), layout="constrained")
axes = figure.subplots()
middle = local.dt.hour + 0.5
axes.fill_between(middle, hours["level.a:l90"], hours["level.a:l10"], color="#9ecae1", label="L90 to L10")
axes.plot(middle, hours["level.a"], color="#08519c", marker="o", markersize=4, label="mean (Leq)")
axes.set(xlim=(0, 24), xticks=range(0, 25, 3), xlabel=f"hour of {START:%d %B %Y}, {ZONE}", ylabel="level.a [dBFS]")
legend = figure.legend(frameon=False, loc="outside upper right", ncols=2)
axes.spines[["top", "right"]].set_visible(False)
# %% [markdown]
# The same from minutes, by hand: levels are logarithms, so their energies are averaged, and a minute of which only half
# was heard counts half.

# %%
hour = pl.col("time").dt.convert_time_zone(ZONE).dt.truncate("1h")
energy = 10 ** (pl.col("level.a").cast(pl.Float64) / 10)
mean = (energy * pl.col("coverage")).sum() / pl.col("coverage").sum()
hourly = table.group_by(hour.alias("hour"), maintain_order=True).agg(level=10 * mean.log10())
difference = np.abs(hourly["level"].to_numpy() - hours["level.a"].dropna().to_numpy()).max()

print(f"{len(hourly)} hours; largest difference to the server's: {difference:.4f} dB")

# %% [markdown]
# ## A spectrogram of the day
#
# Third-octave bands by the minute, from midnight to midnight, or to now. What each column of a vector stands for, the algorithm tells; a band above what the
# sensor could record is missing.

# %%
bands = pd.read_parquet(
    f"{FEATURES}&features=level.bands&resolution=1m&fill=gaps&format=parquet", storage_options=HEADERS
)
outputs = json.load(urlopen(Request(f"{SERVER}/api/v1/algorithms/level", headers=HEADERS)))["outputs"]
hertz = next(output["labels"] for output in outputs if output["name"] == "level.bands")
columns = [name for name in bands.columns if name.startswith("level.bands.") and bands[name].notna().any()]
hertz = [hertz[int(name.rsplit(".", 1)[1])] for name in columns]

figure = plt.figure("spectrogram-of-a-day", figsize=(8, 3.2), layout="constrained")
axes = figure.subplots()
axes.set_facecolor("#dddddd")  # what was not heard
picture = axes.imshow(
    np.ma.masked_invalid(bands[columns].to_numpy().T), aspect="auto", origin="lower", interpolation="nearest",
    extent=(0, len(bands) / 60, -0.5, len(columns) - 0.5), cmap="magma", vmin=-95, vmax=-25,
)
axes.set(xlim=(0, 24), xticks=range(0, 25, 3), xlabel=f"hour of {START:%d %B %Y}, {ZONE}", ylabel="band [Hz]")
axes.set_yticks(range(2, len(columns), 5), hertz[2::5])
bar = figure.colorbar(picture, label="dBFS", pad=0.01)
# %% [markdown]
# ## The loudest minutes
#
# polars finds them:

# %%
loudest = table.top_k(5, by="level.a").select(pl.col("time").dt.convert_time_zone(ZONE), "level.a")

print(loudest)

# %% [markdown]
# Or SQL: DuckDB asks any of these tables. The minutes that stand out of their hour by 10 dB:

# %%
print(duckdb.sql("""
    SELECT time, round("level.a"::DOUBLE, 1) AS level, round("level.a" - hourly, 1) AS above
    FROM (
        SELECT *, 10 * log10(avg(pow(10, "level.a" / 10)) OVER (PARTITION BY date_trunc('hour', time))) AS hourly
        FROM minutes
    )
    WHERE "level.a" - hourly > 10 ORDER BY time
""").df().assign(time=lambda found: found["time"].dt.tz_convert(ZONE)).to_string(index=False))
