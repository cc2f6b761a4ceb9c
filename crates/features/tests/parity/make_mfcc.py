"""golden/mfcc.f32: librosa's cepstral coefficients, frames x 20."""

import librosa

import signals
from golden import frames


def mfcc(y):
    power = librosa.feature.melspectrogram(y=y, sr=signals.RATE, n_fft=2_048, hop_length=512)
    return librosa.feature.mfcc(S=librosa.power_to_db(power, top_db=None), n_mfcc=20).T


FILES = {"mfcc": frames(mfcc)}
