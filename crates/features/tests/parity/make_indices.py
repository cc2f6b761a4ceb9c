"""golden/indices.f32: scikit-maad's acoustic indices, seven numbers (ACI, ADI, BI, NDSI, H, Ht, Hf) for each of: all signals
as a whole, NaN where the reference has none; then the blocks of 5 s of the long signals."""

import warnings

import numpy as np
from maad import features, sound

import signals
from golden import Golden

BLOCK = 5 * signals.RATE


def indices(y, rate):
    """Of samples at 22,050 Hz that had another rate before: ACI and BI take no bins above 0.45 of that."""
    y = y.astype(np.float64)
    if len(y) < 2_048 + 512:
        return [np.nan] * 7
    power, _, fn, _ = sound.spectrogram(y, signals.RATE, nperseg=2_048, noverlap=1_536)
    amplitude = np.sqrt(power)
    bins = len(fn) if rate >= signals.RATE else int(np.ceil(0.45 * rate / fn[1]))
    aci = features.acoustic_complexity_index(amplitude[:bins])[2]
    adi = features.acoustic_diversity_index(amplitude.copy(), fn, fmin=0, fmax=10_000, bin_step=1_000, dB_threshold=-50)
    bi = features.bioacoustics_index(amplitude.copy(), fn, flim=(2_000, min(8_000, fn[bins - 1])))
    ndsi = features.soundscape_index(
        power, fn, flim_bioPh=(2_000, 7_000), flim_antroPh=(1_000, 1_000), R_compatible=None
    )[0]
    ht = features.temporal_entropy(y)
    hf = features.frequency_entropy(power)[0]
    return [aci, adi, bi, ndsi, ht * hf, ht, hf]


def is_long(signal):
    return any(signal is other for other in signals.long())


def rows(signal):
    return signal.common_length // BLOCK if is_long(signal) else 1


def make(signal):
    """Of each whole block, what starts at a multiple of 512 and ends at one."""
    y = signal.common
    parts = [y]
    if is_long(signal):
        starts = range(0, len(y) - BLOCK + 1, BLOCK)
        parts = [y[-(-start // 512) * 512 : (start + BLOCK) // 512 * 512] for start in starts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [indices(part, signal.rate) for part in parts]


# As in indices.rs: of these, one bin or none has anything but what rounding leaves.
ROUNDING = {
    "synthetic 0 at 22050": [1],
    "synthetic 14 at 22050": [1],
    "synthetic 15 at 22050": [0, 1, 2, 3, 4, 6],
    "synthetic 8 at 96000": [0],
    "synthetic 9 at 16000": [0, 2],
}
FILES = {"indices": Golden(signals.short() + signals.long(), rows, make, ROUNDING)}
