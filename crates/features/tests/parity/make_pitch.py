"""Writes golden/yin.f32 (f0 and aperiodicity by frame) and golden/pyin.f32 (f0, voiced, probability): librosa's."""

import librosa
import numpy as np
from librosa.core import pitch

import signals

TAU = 2 * np.pi
RANGE = dict(fmin=librosa.note_to_hz("C2"), fmax=librosa.note_to_hz("C7"), sr=signals.RATE, frame_length=2_048,
             hop_length=512)


def yin(y):
    """Of digital silence librosa says 2,205 Hz, its shortest period; here it has no pitch, and aperiodicity 1. Where nothing
    repeats at all (a lone impulse), lags differ by rounding only, so that f0 above 0.98 is left out."""
    f0 = librosa.yin(y, trough_threshold=0.1, pad_mode="constant", **RANGE)
    frames = librosa.util.frame(np.pad(y, 1_024), frame_length=2_048, hop_length=512)
    normalized = pitch._cumulative_mean_normalized_difference(frames, 10, 338)
    place = np.clip(np.round(signals.RATE / f0).astype(int) - 10, 0, 328)
    # Interpolation shifts the period by less than a sample, so the chosen place is this one or next to it.
    chosen = np.empty(len(f0))
    shifts = pitch._parabolic_interpolation(normalized)
    for t in range(len(f0)):
        near = [p for p in (place[t] - 1, place[t], place[t] + 1) if 0 <= p < 329]
        exact = [p for p in near if signals.RATE / (10 + p + shifts[p, t]) == f0[t]]
        chosen[t] = normalized[exact[0], t]
    silent = ~frames.any(axis=0)
    f0[silent | (chosen > 0.98)], chosen[silent] = np.nan, 1.0
    return np.stack([f0, chosen], axis=1)


def pyin(y):
    f0, voiced, probability = librosa.pyin(y, pad_mode="constant", **RANGE)
    return np.stack([f0, voiced, probability], axis=1)


def voice(n, frequency, partials, hiss):
    """The same as in voices.rs."""
    f = np.broadcast_to(frequency(np.arange(n) / signals.RATE), n)
    phase = np.cumsum(TAU * f / signals.RATE)
    y = hiss * signals.noise(n, n)
    for number, amplitude in partials:
        y = np.where(f > 0, y + 0.3 * amplitude * np.sin(number * phase), y)
    return y.astype(np.float32)


def voices():
    every = [(i, 1 / i) for i in range(1, 9)]
    notes = np.array([330.0, 440.0, 0.0, 196.0, 784.0, 185.0, 0.0, 1_175.0, 147.0])
    return [
        voice(40_000, lambda t: 100 + 150 * t, every, 0.01),
        voice(40_000, lambda t: 220 * 2 ** (0.03 * np.sin(TAU * 6 * t)), every, 0.05),
        voice(90_000, lambda t: notes[(4 * t).astype(int) % len(notes)], every, 0.02),
        voice(30_000, lambda t: 110 + 5 * t, [(i, 0.3) for i in range(3, 9)], 0.1),
        voice(30_000, lambda t: 1_500 + 700 * t, [(1, 1)], 0.01),
        voice(30_000, lambda t: 90 - 25 * t, every, 0.03),
        voice(30_000, lambda t: 0.0, [(1, 1)], 0.5),
    ]


if __name__ == "__main__":
    # In double precision: sums of squares in single precision would leave noise of their own in the differences.
    every = [y.astype(np.float64) for y in signals.all()]
    signals.write("yin", [yin(y) for y in every])
    signals.write("pyin", [pyin(y) for y in every])
    every = [y.astype(np.float64) for y in voices()]
    signals.write("yin_voices", [yin(y) for y in every], voices())
    signals.write("pyin_voices", [pyin(y) for y in every], voices())
