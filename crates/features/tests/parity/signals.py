"""The signals of all parity tests, the same as in signals.rs, and what every make_NAME.py needs.

    python3 -m venv VENV && VENV/bin/pip install -r requirements.txt
    VENV/bin/python make_NAME.py
"""

import pathlib

import numpy as np
import soundfile

HERE = pathlib.Path(__file__).parent
RATE = 22_050
TAU = 2 * np.pi


def noise(seed, n):
    """Knuth's linear congruential generator; the upper 24 bits are exact in f32."""
    state, out = seed, np.empty(n)
    for i in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out[i] = (state >> 40) / 2.0**23 - 1.0
    return out


def synthetic(number, rate, n):
    k = np.arange(n)
    t = k / rate

    def sine(frequency):
        return np.sin(TAU * frequency * k / rate)

    match number:
        case 0: y = np.zeros(n)
        case 1: y = np.where(k == 3_000, 1.0, 0.0)
        case 2: y = 0.5 * noise(1, n)
        case 3: y = 1e-3 * noise(2, n)
        case 4: y = 1e-5 * noise(3, n)
        case 5: y = 0.5 * sine(440)
        case 6: y = sine(10_000)
        case 7: y = 0.9 * sine(30)
        case 8: y = 0.7 * np.sin(TAU * (100 * t + 10_000 * t * t))
        case 9: y = 0.2 * (sine(261.6) + sine(329.6) + sine(392) + sine(1_046.5))
        case 10: y = np.where(k // 50 % 2 == 0, 0.4, -0.4)
        case 11: y = (0.5 + 0.5 * sine(4)) * noise(4, n)
        case 12: y = np.where(k < 2_500, noise(5, n), 0.0)
        case 13: y = np.where(k < 4_000, 0.0, 0.8 * sine(1_234.5))
        case 14: y = np.full(n, 0.25)
        case 15: y = np.where(k % 2 == 0, 0.3, -0.3)
        case 16: y = sine(800) * 0.5 ** (k / 500)
        case 17: y = np.clip(3 * sine(200), -1, 1)
        case 18: y = 0.3 * sine(3_000) + 0.01 * noise(6, n)
        case 19: y = 0.5 * noise(7, n)
    return y.astype(np.float32)


def resample(y, rate):
    """To 22,050 samples a second, by the definition in crates/audio/src/resample.rs: an ideal low pass at 0.475 of the
    lower rate under a Kaiser window (beta 10.06) 64 of its periods to either side, gain 1 at 0 Hz, in double precision."""
    if rate == RATE:
        return y
    count = -(-len(y) * RATE // rate)
    stretch = max(rate / RATE, 1.0)
    half = int(np.ceil(64 * stretch))
    padded = np.concatenate([np.zeros(half), y.astype(np.float64), np.zeros(half + 1)])
    out = np.empty(count)
    for m in range(count):
        centre, rest = divmod(m * rate, RATE)
        taps = np.arange(-half + 1, half + 1)
        time = (taps - rest / RATE) / stretch
        inside = np.abs(time) < 64
        window = np.i0(10.06 * np.sqrt(np.where(inside, 1 - (time / 64) ** 2, 0)))
        kernel = np.where(inside, np.sinc(0.95 * time) * window, 0)
        out[m] = padded[half + centre + taps] @ kernel / kernel.sum()
    return out.astype(np.float32)


def signals():
    """Pairs of rate and samples, in the order of the golden files."""
    found = [(RATE, synthetic(i, RATE, 100 if i == 19 else 6_000 + 371 * i)) for i in range(20)]
    for path in sorted((HERE / "signals").glob("*.flac")):
        samples, rate = soundfile.read(path, dtype="float32")
        found.append((rate, samples))
    others = [(3, 8_000, 4_000), (11, 48_000, 24_000), (8, 96_000, 40_000), (18, 32_000, 16_000), (9, 16_000, 8_000),
              (12, 44_100, 22_000)]
    found += [(rate, synthetic(number, rate, n)) for number, rate, n in others]
    return found


def long():
    """Pairs of rate and samples, of signals of 10 s and more: real sound end to end, and synthetic ones."""
    real = [soundfile.read(path, dtype="float32") for path in sorted((HERE / "signals").glob("*.flac"))]
    by_rate = {}
    for samples, rate in real:
        by_rate.setdefault(rate, []).append(samples)
    found = [(rate, np.tile(np.concatenate(by_rate[rate]), 3)) for rate in sorted(by_rate)]
    found += [(rate, synthetic(number, rate, 12 * rate)) for number, rate in [(11, RATE), (18, RATE), (17, RATE), (3, 16_000)]]
    return found


def all():
    """Every signal at 22,050 samples a second."""
    return [resample(y, rate) for rate, y in signals()]


def write(name, frames, of=None):
    """Writes golden/NAME.f32: for every signal an array of frames x dimensions, one signal after the other."""
    frames = [np.atleast_2d(np.asarray(f, dtype="<f4").T).T for f in frames]
    for y, f in zip(of or all(), frames, strict=True):
        assert len(f) == 1 + len(y) // 512, (len(f), len(y))
    (HERE / "golden" / f"{name}.f32").write_bytes(b"".join(np.ascontiguousarray(f).tobytes() for f in frames))
