"""Writes golden/indices.f32: scikit-maad's acoustic indices, seven numbers (ACI, ADI, BI, NDSI, H, Ht, Hf) for each of:
all signals as a whole, NaN where the reference has none; then the blocks of 5 s of the long signals."""

import warnings

import numpy as np
from maad import features, sound

import signals

warnings.simplefilter("ignore")
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


def blocks(y, rate):
    """Of each whole block, what starts at a multiple of 512 and ends at one."""
    for start in range(0, len(y) - BLOCK + 1, BLOCK):
        yield indices(y[-(-start // 512) * 512 : (start + BLOCK) // 512 * 512], rate)


found = [indices(signals.resample(y, rate), rate) for rate, y in signals.signals()]
for rate, y in signals.long():
    found += blocks(signals.resample(y, rate), rate)
data = np.array(found, dtype="<f4")
(signals.HERE / "golden" / "indices.f32").write_bytes(data.tobytes())
