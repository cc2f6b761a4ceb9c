"""Writes mel.f32: what librosa makes of the twenty signals of ../golden_mel.rs.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install librosa==0.11.0
    /tmp/venv/bin/python make_mel.py

The file holds the signals one after the other, each as frames x 128 little-endian f32; signal i has
6,000 + 371 i samples (the last: 100), hence 1 + samples // 512 frames.
"""

import pathlib

import librosa
import numpy as np

RATE = 22_050
TAU = 2 * np.pi


def lengths():
    return [6_000 + 371 * i for i in range(19)] + [100]


def noise(seed, n):
    """Knuth's linear congruential generator; the upper 24 bits are exact in f32."""
    state, out = seed, np.empty(n)
    for i in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out[i] = (state >> 40) / 2.0**23 - 1.0
    return out


def sine(frequency, n):
    return np.sin(TAU * frequency * np.arange(n) / RATE)


def chirp(n):
    t = np.arange(n) / RATE
    return np.sin(TAU * (100 * t + 10_000 * t * t))


def signal(i, n):
    k = np.arange(n)
    match i:
        case 0: return np.zeros(n)
        case 1: return np.where(k == 3_000, 1.0, 0.0)
        case 2: return 0.5 * noise(1, n)
        case 3: return 1e-3 * noise(2, n)
        case 4: return 1e-5 * noise(3, n)
        case 5: return 0.5 * sine(440, n)
        case 6: return sine(10_000, n)
        case 7: return 0.9 * sine(30, n)
        case 8: return 0.7 * chirp(n)
        case 9: return 0.2 * (sine(261.6, n) + sine(329.6, n) + sine(392, n) + sine(1_046.5, n))
        case 10: return np.where(k // 50 % 2 == 0, 0.4, -0.4)
        case 11: return (0.5 + 0.5 * sine(4, n)) * noise(4, n)
        case 12: return np.where(k < 2_500, noise(5, n), 0.0)
        case 13: return np.where(k < 4_000, 0.0, 0.8 * sine(1_234.5, n))
        case 14: return np.full(n, 0.25)
        case 15: return np.where(k % 2 == 0, 0.3, -0.3)
        case 16: return sine(800, n) * 0.5 ** (k / 500)
        case 17: return np.clip(3 * sine(200, n), -1, 1)
        case 18: return 0.3 * sine(3_000, n) + 0.01 * noise(6, n)
        case 19: return 0.5 * noise(7, n)


def mel(y):
    power = librosa.feature.melspectrogram(
        y=y, sr=RATE, n_fft=2_048, hop_length=512, n_mels=128, fmin=0, fmax=11_025, htk=False, norm="slaney", power=2
    )
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)


values = [mel(signal(i, n).astype(np.float32)).T.astype("<f4") for i, n in enumerate(lengths())]
assert all(len(v) == 1 + n // 512 for v, n in zip(values, lengths()))
pathlib.Path(__file__).with_name("mel.f32").write_bytes(b"".join(v.tobytes() for v in values))
