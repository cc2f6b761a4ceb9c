"""golden/hpss.f32: by frame, the energy of librosa's percussive part over that of both parts; NaN in silence."""

import librosa
import numpy as np

import signals
from golden import frames


def share(y):
    spectrum = librosa.stft(y.astype(np.float64), n_fft=2_048, hop_length=512, pad_mode="constant")
    harmonic, percussive = librosa.decompose.hpss(spectrum, kernel_size=31, power=2.0, margin=1.0)
    p, h = (np.sum(np.abs(part) ** 2, axis=0) for part in (percussive, harmonic))
    with np.errstate(invalid="ignore"):
        return p / (p + h)


FILES = {"hpss": frames(share), "hpss_voices": frames(share, signals.voices())}
