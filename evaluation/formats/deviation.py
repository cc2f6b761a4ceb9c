"""How far what is said of a file is from what is said of the PCM that it was made of."""

import base64
from dataclasses import dataclass

import mir_eval
import numpy as np

# 16 bit PCM resolves no more: what is quieter counts as this, in dB.
QUIET = -90.0


@dataclass(frozen=True)
class Measure:
    """What a deviation is counted in, and how those of many seconds or pieces are summed up."""

    unit: str
    # "p95": the 95th percentile. "mean": the mean.
    statistic: str
    # Added to bounds: below it, a difference says nothing.
    resolution: float


DECIBELS = Measure("dB", "p95", 0.05)
OFF_PITCH = Measure("share of seconds", "mean", 0.02)
RELATIVE = Measure("of the 95th percentile", "p95", 0.005)
PLAIN = Measure("as it is", "p95", 0.005)
CENTS = Measure("cents", "p95", 1.0)
EVENTS = Measure("1 - F", "mean", 0.05)
SHARE = Measure("share of pieces", "mean", 0.1)
BITS = Measure("share of bits", "mean", 0.01)

PITCHES = {"pitch.yin", "pitch.f0", "melody.f0"}
# Shares and probabilities, of which the 95th percentile may be 0.
PLAIN_OUTPUTS = {"level.clipping", "pitch.voiced", "melody.voiced", "pitch.probability", "melody.probability"}

# Values of a whole song.
SONG = {
    "loudness.integrated": DECIBELS,
    "loudness.range": DECIBELS,
    "loudness.true_peak": DECIBELS,
    "loudness.track_gain": DECIBELS,
    "loudness.track_peak": PLAIN,
    "chroma.tuning": CENTS,
    "key.strength": PLAIN,
    "key.key": SHARE,
    "rhythm.confidence": PLAIN,
    "rhythm.tempo": SHARE,
    "fingerprint.chromaprint": BITS,
    **{f"indices.{name}": RELATIVE for name in ("aci", "adi", "bi", "ndsi", "h", "ht", "hf")},
}
# Longest distance of two events that are one: mir_eval's.
EVENT_TYPES = {"onset.onset": mir_eval.onset.f_measure, "rhythm.beat": mir_eval.beat.f_measure}


def measure(name, unit=""):
    """The measure of an output; names of a whole song's values begin with `song: `."""
    if name.startswith("song: "):
        return SONG[name.removeprefix("song: ")]
    if name in EVENT_TYPES:
        return EVENTS
    if name in PITCHES:
        return OFF_PITCH
    if name in PLAIN_OUTPUTS:
        return PLAIN
    return DECIBELS if unit in ("dB", "dBFS", "LUFS", "LU", "dBTP") else RELATIVE


def is_of_song(name):
    """Whether there is one value of a song, and not one of each second."""
    return name.startswith("song: ") or name in EVENT_TYPES


def deviations(found, reference):
    """For each output its measure's unit, and a deviation for each whole second of the reference (of vectors the mean over their
    dimensions), or one for the song. A value that only one of both has is infinitely far."""
    answer = {}
    seconds = reference["frames"] // reference["rate"]
    a, b = table(found, seconds), table(reference, seconds)
    outputs = {}
    for index, column in enumerate(reference["columns"]):
        if column["default"]:
            outputs.setdefault((column["output"], column["unit"]), []).append(index)
    for (name, unit), columns in outputs.items():
        kind = measure(name, unit)
        each = deviation(a[:, columns], b[:, columns], kind)
        heard = ~np.isnan(each).all(axis=1)
        # Where a value is missing on both sides there is nothing to compare.
        by_second = np.nanmean(each[heard], axis=1)
        answer[name] = {"unit": unit, "values": by_second.tolist()}
    for name, kind in SONG.items():
        pair = found["summaries"].get(name), reference["summaries"].get(name)
        value = whole(name, *pair, kind)
        if value is not None:
            answer[f"song: {name}"] = {"unit": "", "values": [value]}
    for name, f_measure in EVENT_TYPES.items():
        ours, theirs = starts(found, name), starts(reference, name)
        if len(theirs) >= 2:
            score = f_measure(theirs, ours)
            answer[name] = {"unit": "", "values": [1.0 - float(score[0] if isinstance(score, tuple) else score)]}
    return answer


def starts(found, kind):
    """Where the annotations of a kind begin, in seconds."""
    return np.array([event["from"] / 1e6 for event in found["annotations"] if event["type"] == kind])


def table(found, seconds):
    """A row for each second: NaN where there is no value."""
    values = np.full((seconds, len(found["columns"])), np.nan)
    for second, *row in found["rows"]:
        if second < seconds:
            values[second] = np.array(row, dtype=float)
    return values


def deviation(a, b, kind):
    if kind is DECIBELS:
        far = np.abs(np.maximum(a, QUIET) - np.maximum(b, QUIET))
    elif kind is OFF_PITCH:
        far = np.where(np.abs(12 * np.log2(a / b)) > 0.5, 1.0, 0.0)
        far[np.isnan(a) & np.isnan(b)] = np.nan
        far[np.isnan(a) != np.isnan(b)] = 1.0
        return far
    else:
        far = np.abs(a - b)
        if kind is RELATIVE:
            scale = np.array([np.percentile(np.abs(one[~np.isnan(one)]), 95) if (~np.isnan(one)).any() else 1.0 for one in b.T])
            far = far / np.maximum(scale, 1e-9)
    far[np.isnan(a) != np.isnan(b)] = np.inf
    return far


def whole(name, found, reference, kind):
    """The deviation of a song's value: none if neither has one."""
    missing = [value is None or isinstance(value, dict) for value in (found, reference)]
    if all(missing):
        return None
    if any(missing):
        return 1.0 if kind.statistic == "mean" else float("inf")
    if kind is BITS:
        return different_bits(found, reference)
    if name == "rhythm.tempo":
        # As tempo Accuracy 1 of the other evaluations.
        return float(abs(found - reference) > 0.04 * reference)
    if kind is SHARE:
        return float(found != reference)
    far = abs(found - reference)
    return far / max(abs(reference), 1e-9) if kind is RELATIVE else far


def different_bits(found, reference):
    """The share of bits in which two compressed fingerprints differ, over the length of the shorter: 0.5 of those that have nothing to
    do with each other."""
    a, b = (decompressed(fingerprint) for fingerprint in (found, reference))
    length = min(len(a), len(b))
    if length == 0:
        return 1.0
    return sum((x ^ y).bit_count() for x, y in zip(a, b)) / (32 * length)


def decompressed(fingerprint):
    """The numbers of 32 bits in a fingerprint: each is told by the distances of the bits in which it differs from the one before, in 3
    bits each, 0 at its end; what reaches 7 goes on in 5 bits further behind."""
    data = base64.urlsafe_b64decode(fingerprint + "=" * (-len(fingerprint) % 4))
    count = int.from_bytes(data[1:4], "big")
    bits = int.from_bytes(data[4:], "little")
    distances, ends = [], 0
    while ends < count:
        distances.append(bits & 7)
        bits >>= 3
        ends += distances[-1] == 0
    # The second stream begins on a byte.
    bits = int.from_bytes(data[4:], "little") >> -(-3 * len(distances) // 8) * 8
    numbers, number, place, before = [], 0, 0, 0
    for distance in distances:
        if distance == 7:
            distance += bits & 31
            bits >>= 5
        if distance:
            place += distance
            number |= 1 << (place - 1)
        else:
            before ^= number
            numbers.append(before)
            number = place = 0
    return numbers


def summed_up(values, kind):
    """The measure's statistic of deviations."""
    return float(np.mean(values)) if kind.statistic == "mean" else float(np.percentile(values, 95, method="higher"))
