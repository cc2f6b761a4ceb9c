"""golden/mel.f32: librosa's mel spectrogram in dB, frames x 128."""

import librosa

import signals
from golden import frames


def mel(y):
    power = librosa.feature.melspectrogram(
        y=y, sr=signals.RATE, n_fft=2_048, hop_length=512, n_mels=128, fmin=0, fmax=11_025, htk=False, norm="slaney",
        power=2,
    )
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None).T


FILES = {"mel": frames(mel)}
