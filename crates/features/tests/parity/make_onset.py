"""Writes golden/onset.f32: librosa's onset strength without top_db, one number a frame; and golden/onsets.txt: the frames in
which librosa finds onsets in the longer signals of onset.rs, one line a signal."""

import librosa
import numpy as np

import signals

TWELVE_SECONDS = 264_600


def strength(y):
    power = librosa.feature.melspectrogram(
        y=y, sr=signals.RATE, n_fft=2_048, hop_length=512, n_mels=128, fmin=0, fmax=11_025, htk=False, norm="slaney",
        power=2,
    )
    decibels = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
    return librosa.onset.onset_strength(S=decibels, sr=signals.RATE, hop_length=512)


def music(number):
    """Tones and bursts of noise at uneven times, over a floor of noise: the same as in onset.rs."""
    chance = (signals.noise(100 + number, 1_000) + 1) / 2
    y = 10.0 ** -(2 + number % 4) * signals.noise(200 + number, TWELVE_SECONDS)
    at, draw = 3_000.0, 0
    while at < TWELVE_SECONDS - 5_000:
        gap, loudness, pitch, kind = chance[draw : draw + 4]
        draw += 4
        start = int(at)
        k = np.arange(min(12_000, TWELVE_SECONDS - start))
        if kind < 0.7:
            body = np.sin(signals.TAU * 110.0 * 2 ** (4 * pitch) * k / signals.RATE) * 0.5 ** (k / 2_000)
        else:
            body = signals.noise(1_000 + draw, len(k)) * 0.5 ** (k / 400)
        y[start : start + len(k)] += (0.1 + 0.4 * loudness) * body
        at += 2_000 + 9_000 * gap
    return y.astype(np.float32)


signals.write("onset", [strength(y)[:, np.newaxis] for y in signals.all()])
lines = []
for number in range(12):
    found = librosa.onset.onset_detect(onset_envelope=strength(music(number)), sr=signals.RATE, hop_length=512)
    lines.append(" ".join(str(frame) for frame in found))
(signals.HERE / "golden" / "onsets.txt").write_text("\n".join(lines) + "\n")
