"""The signals of all parity tests, the same as in signals.rs and voices.rs. golden.py says how they are used."""

import functools
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
    taps = np.arange(-half + 1, half + 1)

    @functools.cache
    def kernel(rest):
        time = (taps - rest / RATE) / stretch
        inside = np.abs(time) < 64
        window = np.i0(10.06 * np.sqrt(np.where(inside, 1 - (time / 64) ** 2, 0)))
        values = np.where(inside, np.sinc(0.95 * time) * window, 0)
        return values, values.sum()

    out = np.empty(count)
    for m in range(count):
        centre, rest = divmod(m * rate, RATE)
        values, total = kernel(rest)
        out[m] = padded[half + centre + taps] @ values / total
    return out.astype(np.float32)


class Signal:
    """One channel of samples, made when they are asked for."""

    def __init__(self, name, rate, length, make):
        self.name, self.rate, self.length, self._make = name, rate, length, make

    @functools.cached_property
    def samples(self):
        """At its own rate, f32."""
        return self._make()

    @functools.cached_property
    def common(self):
        """At 22,050 samples a second, f32."""
        return resample(self.samples, self.rate)

    @property
    def common_length(self):
        """Samples of `common`."""
        return -(-self.length * RATE // self.rate)


def made(number, rate, length):
    return Signal(f"synthetic {number} at {rate}", rate, length, lambda: synthetic(number, rate, length))


@functools.cache
def real():
    """Ten cuts of real sound."""
    found = []
    for path in sorted((HERE / "signals").glob("*.flac")):
        samples, rate = soundfile.read(path, dtype="float32")
        found.append(Signal(path.stem, rate, len(samples), lambda samples=samples: samples))
    return found


@functools.cache
def short():
    """The 36 signals, in the order of the golden files."""
    others = [(3, 8_000, 4_000), (11, 48_000, 24_000), (8, 96_000, 40_000), (18, 32_000, 16_000), (9, 16_000, 8_000),
              (12, 44_100, 22_000)]
    first = [made(i, RATE, 100 if i == 19 else 6_000 + 371 * i) for i in range(20)]
    return first + real() + [made(*other) for other in others]


@functools.cache
def long():
    """Signals of 10 s and more: real sound end to end, and synthetic ones."""
    found = []
    for rate in sorted({signal.rate for signal in real()}):
        whole = np.tile(np.concatenate([signal.samples for signal in real() if signal.rate == rate]), 3)
        found.append(Signal(f"real sound at {rate}", rate, len(whole), lambda whole=whole: whole))
    return found + [made(number, rate, 12 * rate) for number, rate in [(11, RATE), (18, RATE), (17, RATE), (3, 16_000)]]


@functools.cache
def repeated():
    """Each cut of real sound sixteen times, 10 s and more, at a level that rises and falls."""
    found = []
    for signal in real():
        level = [np.float32(2.0 ** -abs(part - 10)) for part in range(16)]
        whole = np.concatenate([share * signal.samples for share in level])
        found.append(Signal(f"{signal.name} repeated", signal.rate, len(whole), lambda whole=whole: whole))
    return found


def voice(length, frequency, partials, hiss):
    """Partials (number and amplitude) of a frequency that depends on time, over noise."""
    f = np.broadcast_to(frequency(np.arange(length) / RATE), length)
    phase = np.cumsum(TAU * f / RATE)
    y = hiss * noise(length, length)
    for number, amplitude in partials:
        y = np.where(f > 0, y + 0.3 * amplitude * np.sin(number * phase), y)
    return y.astype(np.float32)


@functools.cache
def voices():
    """Seven longer signals with a pitch that moves."""
    every = [(i, 1 / i) for i in range(1, 9)]
    notes = np.array([330.0, 440.0, 0.0, 196.0, 784.0, 185.0, 0.0, 1_175.0, 147.0])
    of = [
        ("glide", 40_000, lambda t: 100 + 150 * t, every, 0.01),
        ("vibrato", 40_000, lambda t: 220 * 2 ** (0.03 * np.sin(TAU * 6 * t)), every, 0.05),
        ("melody", 90_000, lambda t: notes[(4 * t).astype(int) % len(notes)], every, 0.02),
        ("no fundamental", 30_000, lambda t: 110 + 5 * t, [(i, 0.3) for i in range(3, 9)], 0.1),
        ("above the range", 30_000, lambda t: 1_500 + 700 * t, [(1, 1)], 0.01),
        ("below the range", 30_000, lambda t: 90 - 25 * t, every, 0.03),
        ("noise", 30_000, lambda t: 0.0, [(1, 1)], 0.5),
    ]
    return [Signal(name, RATE, length, functools.partial(voice, length, *rest)) for name, length, *rest in of]
