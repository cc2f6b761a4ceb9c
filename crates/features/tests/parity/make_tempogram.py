"""golden/tempogram.f32: librosa's tempogram of the onset strength without top_db, every sixteenth lag and the last."""

import librosa
import numpy as np

import make_onset
import signals
from golden import frames


def tempogram(y):
    found = librosa.feature.tempogram(
        onset_envelope=make_onset.strength(y), sr=signals.RATE, hop_length=512, win_length=384
    )
    # The transforms that librosa sums products by leave rounding noise where the sum is 0.
    found[np.abs(found) < 1e-6] = 0
    return np.vstack([found[::16], found[-1:]]).T


FILES = {"tempogram": frames(tempogram)}
