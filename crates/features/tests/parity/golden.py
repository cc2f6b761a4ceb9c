"""What the golden files hold, and how it is compared with what the packages say now.

A script make_NAME.py has a table FILES: name of a file, and the `Golden` that says what is in it. make.py runs them.
"""

import typing

import numpy as np

import signals

# How far packages may be off the files, in the measure of the parity tests, which allow us 1e-3: on another processor, and with
# other libraries, NumPy rounds otherwise. Without AVX, a coefficient of an impulse that nearly vanishes was 3.4e-4 off.
ALLOWED = 5e-4
# What is smaller is nothing: rounding, where the exact value is 0.
NOTHING = 1e-9


class Golden(typing.NamedTuple):
    """What a file holds: for one signal after the other, rows x dimensions of little-endian f32."""

    of: list
    # How many rows a signal has, and what they are: an array of so many rows.
    rows: typing.Callable
    make: typing.Callable
    # Dimensions by name of the signal that are rounding in the reference itself, and so not compared. None: all.
    rounding: dict = {}


def frames(function, of=None, rounding=None):
    """A row for each frame, made by a function of the samples at 22,050 Hz: frames x dimensions, or frames alone."""

    def make(signal):
        return np.atleast_2d(np.asarray(function(signal.common), dtype="<f4").T).T

    return Golden(of or signals.short(), lambda signal: 1 + signal.common_length // 512, make, rounding or {})


def write(path, golden):
    parts = [made(golden, signal) for signal in golden.of]
    path.write_bytes(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))


def made(golden, signal):
    values = np.asarray(golden.make(signal), dtype="<f4")
    assert len(values) == golden.rows(signal), f"{signal.name}: {len(values)} rows, not {golden.rows(signal)}"
    return values


def check(path, golden, chosen):
    """Compares the chosen signals; returns the largest difference and what is wrong, a line each."""
    file = np.frombuffer(path.read_bytes(), dtype="<f4")
    rows = [golden.rows(signal) for signal in golden.of]
    dimensions, rest = divmod(len(file), sum(rows))
    if rest or not dimensions:
        return 0.0, [f"{path.name}: {len(file)} numbers for {sum(rows)} rows"]
    file = file.reshape(-1, dimensions)
    largest, wrong, first = 0.0, [], 0
    for index, signal in enumerate(golden.of):
        kept = file[first : first + rows[index]]
        first += rows[index]
        if index not in chosen:
            continue
        now = made(golden, signal)
        if now.shape != kept.shape:
            wrong.append(f"{path.name}, {signal.name}: {kept.shape} is kept, but {now.shape} made")
            continue
        difference = differences(now, kept)
        skipped = golden.rounding.get(signal.name, [])
        difference[:, slice(None) if skipped is None else skipped] = 0
        largest = max(largest, difference.max())
        for row, dimension in np.argwhere(~(difference <= ALLOWED))[:5]:
            place = f"{path.name}, {signal.name}, row {row}, dimension {dimension}"
            wrong.append(f"{place}: {kept[row, dimension]} is kept, but {now[row, dimension]} made")
    return largest, wrong


def differences(a, b):
    """|a - b| / max(|b|, s), where s is the 95th percentile of |b| in the dimension; infinite if only one of both is NaN."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    found = np.zeros(b.shape)
    for dimension in range(b.shape[1]):
        sizes = np.sort(np.abs(b[:, dimension][~np.isnan(b[:, dimension])]))
        scale = sizes[(len(sizes) - 1) * 95 // 100] if len(sizes) else 0.0
        x, y = a[:, dimension], b[:, dimension]
        relative = np.abs(x - y) / np.maximum(np.abs(y), max(scale, NOTHING))
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        found[:, dimension] = np.where(same, 0, np.where(np.isnan(x) != np.isnan(y), np.inf, relative))
    return found
