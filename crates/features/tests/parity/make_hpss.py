"""Writes golden/hpss.f32: by frame, the energy of librosa's percussive part over that of both parts; NaN in silence."""

import librosa
import numpy as np

import make_pitch
import signals


def share(y):
    spectrum = librosa.stft(y.astype(np.float64), n_fft=2_048, hop_length=512, pad_mode="constant")
    harmonic, percussive = librosa.decompose.hpss(spectrum, kernel_size=31, power=2.0, margin=1.0)
    p, h = (np.sum(np.abs(part) ** 2, axis=0) for part in (percussive, harmonic))
    with np.errstate(invalid="ignore"):
        return p / (p + h)


if __name__ == "__main__":
    signals.write("hpss", [share(y) for y in signals.all()])
    signals.write("hpss_voices", [share(y) for y in make_pitch.voices()], make_pitch.voices())
