"""golden/onset.f32: librosa's onset strength without top_db, one number a frame."""

import librosa

import make_mel
import signals
from golden import frames


def strength(y):
    return librosa.onset.onset_strength(S=make_mel.mel(y).T, sr=signals.RATE, hop_length=512)


FILES = {"onset": frames(strength)}
