"""golden/chroma_NAME.f32: librosa's chroma and tonnetz, and for each signal its tuning in cents, NaN if there is no peak to
take it from."""

import librosa
import numpy as np

import signals
from golden import Golden, frames


def chroma(y):
    return librosa.feature.chroma_stft(y=y, sr=signals.RATE, tuning=0.0)


def tonnetz(y):
    """In double precision, since directions cancel: of single precision, noise of 1e-7 is left of them."""
    return librosa.feature.tonnetz(chroma=chroma(y.astype(np.float64)))


def tuning(signal):
    y = signal.common
    pitches, _ = librosa.piptrack(y=y, sr=signals.RATE, n_fft=2_048)
    return [[100 * librosa.estimate_tuning(y=y, sr=signals.RATE) if pitches.any() else np.nan]]


FILES = {
    "chroma_stft": frames(lambda y: chroma(y).T),
    "chroma_tonnetz": frames(lambda y: tonnetz(y).T),
    # An impulse has no peaks; those that librosa finds in it are rounding.
    "chroma_tuning": Golden(signals.short(), lambda signal: 1, tuning, {"synthetic 1 at 22050": None}),
}
