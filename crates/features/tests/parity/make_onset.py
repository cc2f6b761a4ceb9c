"""Writes golden/onset.f32: librosa's onset strength without top_db, one number a frame."""

import librosa
import numpy as np

import signals


def strength(y):
    power = librosa.feature.melspectrogram(
        y=y, sr=signals.RATE, n_fft=2_048, hop_length=512, n_mels=128, fmin=0, fmax=11_025, htk=False, norm="slaney",
        power=2,
    )
    decibels = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
    return librosa.onset.onset_strength(S=decibels, sr=signals.RATE, hop_length=512)


signals.write("onset", [strength(y)[:, np.newaxis] for y in signals.all()])
