"""golden/yin.f32 (f0 and aperiodicity by frame) and golden/pyin.f32 (f0, voiced, probability): librosa's."""

import librosa
import numpy as np
from librosa.core import pitch

import signals
from golden import frames

RANGE = dict(fmin=librosa.note_to_hz("C2"), fmax=librosa.note_to_hz("C7"), sr=signals.RATE, frame_length=2_048,
             hop_length=512)


def yin(y):
    """Of digital silence librosa says 2,205 Hz, its shortest period; here it has no pitch, and aperiodicity 1. Where nothing
    repeats at all (a lone impulse), lags differ by rounding only, so that f0 above 0.98 is left out."""
    f0 = librosa.yin(y, trough_threshold=0.1, pad_mode="constant", **RANGE)
    framed = librosa.util.frame(np.pad(y, 1_024), frame_length=2_048, hop_length=512)
    normalized = pitch._cumulative_mean_normalized_difference(framed, 10, 338)
    place = np.clip(np.round(signals.RATE / f0).astype(int) - 10, 0, 328)
    # Interpolation shifts the period by less than a sample, so the chosen place is this one or next to it.
    chosen = np.empty(len(f0))
    shifts = pitch._parabolic_interpolation(normalized)
    for t in range(len(f0)):
        near = [p for p in (place[t] - 1, place[t], place[t] + 1) if 0 <= p < 329]
        exact = [p for p in near if signals.RATE / (10 + p + shifts[p, t]) == f0[t]]
        chosen[t] = normalized[exact[0], t]
    silent = ~framed.any(axis=0)
    f0[silent | (chosen > 0.98)], chosen[silent] = np.nan, 1.0
    return np.stack([f0, chosen], axis=1)


def pyin(y):
    f0, voiced, probability = librosa.pyin(y, pad_mode="constant", **RANGE)
    return np.stack([f0, voiced, probability], axis=1)


def double(function):
    """In double precision: sums of squares in single precision would leave noise of their own in the differences."""
    return lambda y: function(y.astype(np.float64))


FILES = {
    "yin": frames(double(yin)),
    "pyin": frames(double(pyin)),
    "yin_voices": frames(double(yin), signals.voices()),
    "pyin_voices": frames(double(pyin), signals.voices()),
}
