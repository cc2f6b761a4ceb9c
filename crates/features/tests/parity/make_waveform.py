"""golden/waveform_NAME.f32: librosa's zero-crossing rate and root mean square."""

import librosa

from golden import frames


def crossings(y):
    return librosa.feature.zero_crossing_rate(y, frame_length=2_048, hop_length=512).T


def rms(y):
    return librosa.feature.rms(y=y, frame_length=2_048, hop_length=512).T


FILES = {"waveform_zero_crossing_rate": frames(crossings), "waveform_rms": frames(rms)}
