"""Writes golden/tempogram.f32: librosa's tempogram of the onset strength without top_db, every sixteenth lag and the last."""

import librosa
import numpy as np

import signals


def tempogram(y):
    power = librosa.feature.melspectrogram(
        y=y, sr=signals.RATE, n_fft=2_048, hop_length=512, n_mels=128, fmin=0, fmax=11_025, htk=False, norm="slaney",
        power=2,
    )
    decibels = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
    strength = librosa.onset.onset_strength(S=decibels, sr=signals.RATE, hop_length=512)
    found = librosa.feature.tempogram(onset_envelope=strength, sr=signals.RATE, hop_length=512, win_length=384)
    # The transforms that librosa sums products by leave rounding noise where the sum is 0.
    found[np.abs(found) < 1e-6] = 0
    return np.vstack([found[::16], found[-1:]]).T


signals.write("tempogram", [tempogram(y) for y in signals.all()])
