"""golden/chroma_cqt.f32: librosa's constant-Q chroma, frames x 12, of a transform whose filters are whole."""

import librosa
import numpy as np

import signals
from golden import frames


def chroma(y):
    transform = librosa.cqt(y, sr=signals.RATE, hop_length=512, n_bins=7 * 36, bins_per_octave=36, tuning=0.0, sparsity=0)
    return librosa.feature.chroma_cqt(C=np.abs(transform), sr=signals.RATE, bins_per_octave=36).T


FILES = {"chroma_cqt": frames(chroma)}
