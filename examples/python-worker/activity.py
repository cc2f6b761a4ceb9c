"""The feature: how much of the sound lies where songbirds sing.

Every tenth of a second of the epoch is a frame. Its index is the share of its energy between 2 and 8 kHz, 0 for digital
silence. What is published are moments of the indices of each second: count, mean, variance, smallest, largest.
"""

from dataclasses import dataclass

import numpy

GROUP = "x-birds"
NAME = f"{GROUP}.activity"
VERSION = 1

FRAMES_A_SECOND = 10
BAND_HZ = (2_000.0, 8_000.0)
SECOND = 1_000_000


def divide_rounded(numerator: int, denominator: int) -> int:
    """The quotient, rounded, halves up; for both signs. Integers, because a float cannot count the samples since 1970."""
    return (2 * numerator + denominator) // (2 * denominator)


def sample_number(micros: int, rate: int) -> int:
    """The number of the sample at an instant, in us: sample 0 was at the beginning of 1970."""
    return divide_rounded(micros * rate, SECOND)


@dataclass
class Piece:
    """Decoded audio of one message, on the grid that all recordings of all sensors share."""

    samples: numpy.ndarray
    """One row a sample, one column a channel; the lead-in is in front."""
    rate: int
    recording_start: int
    """Of the recording that this is a piece of, us since 1970."""
    start: int
    """The first sample after the lead-in, us since 1970."""
    lead_in: int
    """Length of the lead-in in us."""

    @property
    def first_body(self) -> int:
        """The number of the first sample after the lead-in."""
        return sample_number(self.start, self.rate)

    @property
    def first(self) -> int:
        """The number of the first sample."""
        return self.first_body - sample_number(self.lead_in, self.rate)

    @property
    def end(self) -> int:
        """The number after the last sample."""
        return self.first + len(self.samples)

    def interval(self) -> tuple[int, int]:
        """What was analysed, in us since 1970. It is counted from the recording's start, so that pieces touch."""
        first_of_recording = sample_number(self.recording_start, self.rate)

        def time_of(number: int) -> int:
            return self.recording_start + divide_rounded((number - first_of_recording) * SECOND, self.rate)

        return time_of(self.first_body), time_of(self.end)


def indices(piece: Piece) -> dict[int, list[float]]:
    """The indices of each second of the epoch.

    A frame belongs to the piece that holds its last sample, hence to one piece only. It reaches back into the lead-in;
    what even that does not hold counts as silence.
    """
    mono = piece.samples.mean(axis=1)

    def border(frame: int) -> int:
        """The number of the first sample of a frame: frame x rate / 10, rounded up."""
        return -(-frame * piece.rate // FRAMES_A_SECOND)

    found: dict[int, list[float]] = {}
    frame = piece.first_body * FRAMES_A_SECOND // piece.rate
    while border(frame + 1) <= piece.end:
        first, end = border(frame), border(frame + 1)
        if end > piece.first_body:
            held = mono[max(first - piece.first, 0) : end - piece.first]
            padded = numpy.concatenate([numpy.zeros(end - first - len(held)), held])
            found.setdefault(frame // FRAMES_A_SECOND, []).append(share_in_band(padded, piece.rate))
        frame += 1
    return found


def share_in_band(samples: numpy.ndarray, rate: int) -> float:
    """The share of the energy that lies in the band."""
    power = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples)))) ** 2
    frequencies = numpy.fft.rfftfreq(len(samples), 1 / rate)
    in_band = (frequencies >= BAND_HZ[0]) & (frequencies < BAND_HZ[1])
    total = power.sum()
    return float(power[in_band].sum() / total) if total > 0 else 0.0


def describe(descriptor, moments: int) -> None:
    """Fills in what is told before the first result; whoever changes what is computed raises VERSION."""
    descriptor.name = NAME
    descriptor.version = VERSION
    descriptor.title = "Share of the sound where songbirds sing"
    descriptor.about = (
        "The share of the energy between 2 and 8 kHz in each tenth of a second of the epoch (Hann window). A frame "
        "reaches back over the border of a recording into the lead-in; without one it is padded with silence, and its "
        "share is that of the part that was heard."
    )
    descriptor.reference = "Own definition: examples/python-worker/activity.py"
    output = descriptor.outputs.add(name="index", title="Share of the energy between 2 and 8 kHz", unit="1")
    output.series.dimensions = 1
    output.series.aggregate = moments
    output.series.layer = "main"


def add_blocks(result, piece: Piece) -> None:
    """Adds a partial for each second: count, mean, variance, smallest and largest of its indices."""
    begin, end = piece.interval()
    blocks: dict[int, object] = {}
    for second, values in sorted(indices(piece).items()):
        minute = second // 60
        if minute not in blocks:
            blocks[minute] = result.blocks.add(algorithm=NAME, version=VERSION, layer="main", minute=minute)
        partial = blocks[minute].partials.add(second=second % 60, count=len(values))
        # Where in the second the audio lies that this is about.
        setattr(partial, "from", max(begin - second * SECOND, 0))
        partial.to = min(end - second * SECOND, SECOND)
        found = numpy.array(values)
        partial.values.extend([found.mean(), found.var(), found.min(), found.max()])
