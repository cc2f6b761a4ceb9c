"""golden/spectral_NAME.f32: frames of librosa's and, where it has none, Essentia's spectral descriptors."""

import importlib
from unittest import mock

import essentia.standard as es
import librosa
import numpy as np

import signals
from golden import frames


def magnitudes(y):
    return np.abs(librosa.stft(y, n_fft=2_048, hop_length=512))


def contrast(y):
    """The streaming definition knows no loudest frame, so nothing is cut off at 80 dB below it; instead there is a floor above
    what resampling leaves."""
    module = importlib.import_module("librosa.feature.spectral")
    to_decibels = lambda power: librosa.power_to_db(power, amin=1e-3, top_db=None)
    with mock.patch.object(module, "power_to_db", to_decibels):
        return librosa.feature.spectral_contrast(S=magnitudes(y), sr=signals.RATE).T


def by_librosa(function):
    return lambda y: function(S=magnitudes(y)).T


def by_essentia(algorithm, scale=1.0):
    """A new instance for each signal: Flux remembers the frame before."""

    def run(y):
        instance = algorithm()
        return [[instance(frame)] for frame in np.ascontiguousarray(magnitudes(y).T * np.float32(scale))]

    return run


OUTPUTS = {
    "centroid": by_librosa(librosa.feature.spectral_centroid),
    "bandwidth": by_librosa(librosa.feature.spectral_bandwidth),
    "rolloff": by_librosa(librosa.feature.spectral_rolloff),
    "flatness": by_librosa(librosa.feature.spectral_flatness),
    "flux": by_essentia(es.Flux, 1 / 512),
    "crest": by_essentia(es.Crest),
    "entropy": by_essentia(es.Entropy),
}
FILES = {f"spectral_{name}": frames(output) for name, output in OUTPUTS.items()}
# An impulse has no contrast; what librosa finds in it, below 1e-6 dB, is rounding.
FILES["spectral_contrast"] = frames(contrast, rounding={"synthetic 1 at 22050": None})
