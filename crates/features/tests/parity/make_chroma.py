"""Writes golden/chroma_NAME.f32: librosa's chroma and tonnetz, and for each signal its tuning in cents, NaN if there is no
peak to take it from."""

import librosa
import numpy as np

import signals


def chroma(y):
    return librosa.feature.chroma_stft(y=y, sr=signals.RATE, tuning=0.0)


def tuning(y):
    pitches, _ = librosa.piptrack(y=y, sr=signals.RATE, n_fft=2_048)
    return 100 * librosa.estimate_tuning(y=y, sr=signals.RATE) if pitches.any() else np.nan


ys = signals.all()
signals.write("chroma_stft", [chroma(y).T for y in ys])
# In double precision, since directions cancel: of single precision, noise of 1e-7 is left of them.
signals.write("chroma_tonnetz", [librosa.feature.tonnetz(chroma=chroma(y.astype(np.float64))).T for y in ys])
tunings = np.array([tuning(y) for y in ys], dtype="<f4")
(signals.HERE / "golden" / "chroma_tuning.f32").write_bytes(tunings.tobytes())
