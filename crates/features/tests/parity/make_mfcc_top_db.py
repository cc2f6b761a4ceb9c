"""golden/mfcc_top_db.f32: librosa's cepstral coefficients as they come, with its top_db of 80 dB, frames x 20; and four of them of
longer signals, whose level rises and falls, in mfcc_top_db_long.f32."""

import librosa

import signals
from golden import frames


def mfcc(y):
    return librosa.feature.mfcc(y=y, sr=signals.RATE, n_mfcc=20).T


FILES = {
    "mfcc_top_db": frames(mfcc),
    "mfcc_top_db_long": frames(lambda y: mfcc(y)[:, [0, 1, 6, 19]], signals.repeated()),
}
