"""Chooses how `key` weighs tones and which published profile it compares them with, by cross-validation over scores.

    python render.py /tmp/pieces --half tune --variants 3
    python fit_key.py /tmp/pieces/tune

Tones are found as the description of `key` says, once for each piece (kept beside it). All ways to weigh them (`WAYS`), to make
pitch classes of them (`SUMS`) and all profiles are compared by mir_eval's weighted score. What a choice is worth is told by
leaving out: for each score the best of all is taken by the *other* scores, and judged by this one. Never run it on `report`.
"""

import argparse
import itertools
import pathlib
from concurrent.futures import ProcessPoolExecutor

import mir_eval
import numpy as np
import scipy.ndimage
import scipy.signal
import soundfile

import perform
import tools

RATE, SIZE, HOP, BINS, FLOOR = 22_050, 8_192, 4_096, 1_400, 65
NAMES = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
KEYS = [f"{name} {mode}" for mode in ("major", "minor") for name in NAMES]
WORTH = np.array([[mir_eval.key.weighted_score(true, told) for told in KEYS] for true in KEYS])

# Weights from the tonic up, major and minor, as they were published.
PROFILES = {
    # C. Krumhansl, "Cognitive Foundations of Musical Pitch", 1990.
    "krumhansl": ([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
                  [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17]),
    # I. Sha'ath, "Estimation of key in digital music recordings", 2011.
    "shaath": ([6.6, 2.0, 3.5, 2.3, 4.6, 4.0, 2.5, 5.2, 2.4, 3.7, 2.3, 3.4],
               [6.5, 2.7, 3.5, 5.4, 2.6, 3.5, 2.5, 5.2, 4.0, 2.7, 4.3, 3.2]),
    # D. Temperley, "What's key for key?", Music Perception 17(1), 1999.
    "temperley 1999": ([5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0],
                       [5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0]),
    # D. Temperley, "Music and Probability", 2007.
    "temperley 2007": ([0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400],
                       [0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330]),
    # J. Albrecht and D. Shanahan, "The use of large corpora to train a new type of key-finding algorithm", 2013.
    "albrecht": ([0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081],
                 [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052]),
    # H. Bellman, "About the determination of key of a musical excerpt", 2005.
    "bellman": ([16.80, 0.86, 12.95, 1.41, 13.49, 11.93, 1.25, 20.28, 1.80, 8.04, 0.62, 10.57],
                [18.16, 0.69, 12.99, 13.34, 1.07, 11.15, 1.38, 21.07, 7.49, 1.53, 0.92, 10.21]),
    # B. Aarden, "Dynamic melodic expectancy", 2003.
    "aarden": ([17.7661, 0.1456, 14.9265, 0.1602, 19.8049, 11.3587, 0.2912, 22.062, 0.1456, 8.1549, 0.2330, 4.9512],
               [18.2648, 0.7376, 14.0499, 16.8599, 0.7025, 14.4362, 0.7025, 18.6161, 4.5662, 1.9319, 7.3762, 1.7562]),
    # E. Gómez, "Tonal description of polyphonic audio for music content processing", 2006.
    "gomez": ([0.82, 0.00, 0.55, 0.00, 0.53, 0.30, 0.08, 1.00, 0.00, 0.38, 0.00, 0.47],
              [0.81, 0.00, 0.53, 0.54, 0.00, 0.27, 0.07, 1.00, 0.27, 0.07, 0.10, 0.36]),
    # K. Noland and M. Sandler, Computer Music Journal 33(1), 2009.
    "noland": ([0.0629, 0.0146, 0.061, 0.0121, 0.0623, 0.0414, 0.0248, 0.0631, 0.015, 0.0521, 0.0142, 0.0478],
               [0.0682, 0.0138, 0.0543, 0.0519, 0.0234, 0.0544, 0.0176, 0.067, 0.0349, 0.0297, 0.0401, 0.027]),
    # Á. Faraldo et al., "A multi-profile method for key estimation in EDM", 2017.
    "bgate": ([1.00, 0.00, 0.42, 0.00, 0.53, 0.37, 0.00, 0.77, 0.00, 0.38, 0.21, 0.30],
              [1.00, 0.00, 0.36, 0.39, 0.00, 0.38, 0.00, 0.74, 0.27, 0.00, 0.42, 0.23]),
}

# Those of which means are tried: the best alone.
JOINED = ["noland", "albrecht", "gomez", "temperley 2007", "shaath"]

# How tones are weighed: exponent of the amplitude, of the frequency, of the frame's sum; lowest and highest frequency in Hz; least
# prominence in dB.
WAYS = list(itertools.product([0.25, 0.5, 1.0], [-0.5], [-0.5, -1.0], [50], [1_000, 2_000], [13]))
# How pitch classes are made of them: exponent of each class; how much of what lies a fifth above a class is counted with it (a third
# partial), or, below 0, of what lies a fifth below is taken off; how much the tones below 262 Hz alone count besides.
SUMS = list(itertools.product([0.5, 0.7, 1.0], [-0.2, -0.1, 0.0, 0.1, 0.2], [0.0]))
# Added to the correlation of minor keys.
MINOR = [-0.02, 0.0, 0.02, 0.04, 0.06]
BASS = 262.0
# What `key` does.
USED = ((0.5, -0.5, -1.0, 50, 1_000, 13), (1.0, 0.2, 0.0), "gomez + shaath", 0.04)


def tones_of(path):
    """Frame, pitch in semitones above A, logarithm of the amplitude and prominence in dB of each tone."""
    kept = path.with_suffix(".tones.npy")
    if not kept.exists():
        samples, rate = soundfile.read(path, always_2d=True)
        common = np.gcd(rate, RATE)
        samples = scipy.signal.resample_poly(samples.mean(axis=1), RATE // common, rate // common)
        samples = np.pad(samples, SIZE // 2)
        frames = np.lib.stride_tricks.sliding_window_view(samples, SIZE)[::HOP] * scipy.signal.get_window("hann", SIZE)
        level = np.log(np.maximum(np.abs(np.fft.rfft(frames)[:, :BINS]) ** 2, 1e-12)).astype(np.float32)
        above = level - scipy.ndimage.median_filter(level, size=(1, FLOOR), mode="reflect")
        left, middle, right = level[:, :-2], level[:, 1:-1], level[:, 2:]
        frame, bins = np.nonzero((middle > left) & (middle >= right) & (above[:, 1:-1] > 2.0))
        left, middle, right = (row[frame, bins].astype(float) for row in (left, middle, right))
        shift = 0.5 * (left - right) / (left - 2 * middle + right)
        pitch = 12 * np.log2((bins + 1 + shift) * RATE / SIZE / 440)
        height = 0.5 * (middle - 0.25 * (left - right) * shift)
        prominence = 10 / np.log(10) * above[frame, bins + 1]
        inside = pitch > 12 * np.log2(50 / 440)
        np.save(kept, np.stack([frame, pitch, height, prominence])[:, inside].astype(np.float32))
    return np.load(kept)


class Tones:
    """The tones of all pieces in one row."""

    def __init__(self, found):
        self.piece = np.repeat(np.arange(len(found)), [tones.shape[1] for tones in found])
        self.count = len(found)
        frames = np.cumsum([0] + [int(tones[0].max(initial=0)) + 1 for tones in found])
        self.frame = np.concatenate([tones[0].astype(int) + first for tones, first in zip(found, frames)])
        self.pitch, self.height, self.prominence = (np.concatenate([tones[row] for tones in found]) for row in (1, 2, 3))

    def classes(self, way):
        """Weights of the pitch classes from C, of all tones and of those of the bass: two rows for each piece."""
        amplitude, frequency, frame, low, high, least = way
        semitones = lambda hertz: 12 * np.log2(hertz / 440)
        chosen = (self.prominence > least) & (self.pitch >= semitones(low)) & (self.pitch < semitones(high))
        pitch, piece, frames = self.pitch[chosen], self.piece[chosen], self.frame[chosen]
        weight = np.exp(amplitude * self.height[chosen]) * np.exp2(frequency / 12 * pitch)
        weight *= (np.maximum(np.bincount(frames, weight), 1e-12) ** frame)[frames]
        angle = 2 * np.pi * pitch
        turn = [np.bincount(piece, weight * of(angle), self.count) for of in (np.sin, np.cos)]
        pitch = pitch - (np.arctan2(*turn) / (2 * np.pi))[piece]
        note = np.round(pitch)
        weight = weight * (1 - 4 * (pitch - note) ** 2)
        place = piece * 12 + (note.astype(int) + 9) % 12
        found = [np.bincount(place[these], weight[these], self.count * 12).reshape(-1, 12)
                 for these in (slice(None), pitch < semitones(BASS))]
        return [classes / np.maximum(classes.sum(axis=1, keepdims=True), 1e-12) for classes in found]


def standard(rows):
    """Less their mean, and of length 1."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def templates():
    """(profile, key, pitch class), and the names of the profiles: published ones, and means of two of `JOINED`."""
    turned = {name: standard(np.array([np.roll(mode, tonic) for mode in modes for tonic in range(12)]))
              for name, modes in PROFILES.items()}
    turned |= {f"{a} + {b}": standard(turned[a] + turned[b]) for a, b in itertools.combinations(JOINED, 2)}
    return np.array(list(turned.values())), list(turned)


def summed(classes, way):
    """One row of pitch classes for each piece."""
    power, fifth, bass = way
    every, low = classes
    found = every + bass * low
    if fifth > 0:
        found = found + fifth * np.roll(found, -7, axis=1)
    elif fifth < 0:
        found = np.maximum(found + fifth * np.roll(found, 7, axis=1), 0)
    return found**power


def outcomes(tones, truths, way):
    """What each choice of the rest is worth on each piece, in tenths."""
    profiles, _ = templates()
    classes, found = tones.classes(way), []
    for sums in SUMS:
        likeness = standard(summed(classes, sums)) @ profiles.reshape(-1, 12).T
        likeness = likeness.reshape(len(truths), len(profiles), 24)
        for bias in MINOR:
            told = np.argmax(likeness + bias * (np.arange(24) >= 12), axis=2)
            found.append(WORTH[truths[:, None], told].T)
    return np.round(10 * np.concatenate(found)).astype(np.uint8)


def left_out(worth, groups):
    """Mean worth if each score is judged by the choice that is best for all others."""
    sums = np.stack([worth[:, groups == group].sum(axis=1, dtype=float) for group in range(groups.max() + 1)], axis=1)
    counts = np.bincount(groups)
    best = np.argmax((sums.sum(axis=1, keepdims=True) - sums) / (len(groups) - counts), axis=0)
    return sums[best, np.arange(len(counts))].sum() / len(groups) / 10


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="the half for tuning that render.py made")
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    pieces = tools.pieces(wanted.folder)
    with ProcessPoolExecutor(wanted.workers) as pool:
        tones = Tones(list(pool.map(tones_of, [path for path, _ in pieces], chunksize=8)))
    truths = np.array([perform.tonic_of(truth["key"]) + 12 * truth["key"].endswith("minor") for _, truth in pieces])
    scores = np.unique([truth["score"] for _, truth in pieces], return_inverse=True)[1]
    tiers = np.array([truth["tier"] for _, truth in pieces])
    names = templates()[1]
    choices = list(itertools.product(WAYS, SUMS, MINOR, names))
    worth = np.concatenate([outcomes(tones, truths, way) for way in WAYS])
    means = worth.mean(axis=1) / 10
    print(f"{len(pieces)} pieces of {scores.max() + 1} scores; {len(choices)} choices\n")

    def tell(name, place):
        parts = " | ".join(f"{worth[place, tiers == tier].mean() / 10:.3f}" for tier in dict.fromkeys(tiers))
        way, sums, minor, profile = choices[place]
        print(f"| {name} | {means[place]:.3f} | {parts} | {way} {sums} {minor:+} {profile} |")

    print("| | weighted | " + " | ".join(dict.fromkeys(tiers)) + " | choice |\n|---|---|" + "---|" * (1 + len(set(tiers))))
    way, sums, profile, minor = USED
    if (way, sums, minor, profile) in choices:
        tell("as it is", choices.index((way, sums, minor, profile)))
    tell("best", int(np.argmax(means)))
    print(f"\nLeaving out one score: {left_out(worth, scores):.3f}\n")
    print("Best with each value, and the mean of the best hundred with it:\n")
    for title, of in [("amplitude", lambda c: c[0][0]), ("frequency", lambda c: c[0][1]), ("frame", lambda c: c[0][2]),
                      ("lowest", lambda c: c[0][3]), ("highest", lambda c: c[0][4]), ("prominence", lambda c: c[0][5]),
                      ("power", lambda c: c[1][0]), ("fifth", lambda c: c[1][1]), ("bass", lambda c: c[1][2]),
                      ("minor", lambda c: c[2]), ("profile", lambda c: c[3])]:
        values = [of(choice) for choice in choices]
        for value in dict.fromkeys(values):
            these = np.flatnonzero([other == value for other in values])
            row = np.sort(means[these])[::-1]
            print(f"{title} {value}: {row[0]:.4f} {row[:100].mean():.4f}; left out {left_out(worth[these], scores):.4f}")


if __name__ == "__main__":
    main()
