"""golden/beat_track.f32 and beat_track_long.f32: librosa's beats, 1 for a frame that is one, else 0; and for each signal its
tempo in beats a minute in beat_track_tempo.f32 and beat_track_tempo_long.f32, NaN if there is none."""

import librosa
import numpy as np

import signals
from golden import Golden, frames
from make_onset_detect import marked


def beat_track(y):
    return librosa.beat.beat_track(y=y, sr=signals.RATE, hop_length=512)


def beats(y):
    return marked(beat_track(y)[1], y)


def tempo(signal):
    found, _ = beat_track(signal.common)
    return [[np.atleast_1d(found)[0] or np.nan]]


LONG = signals.long() + signals.repeated()
FILES = {
    "beat_track": frames(beats),
    "beat_track_long": frames(beats, LONG),
    "beat_track_tempo": Golden(signals.short(), lambda signal: 1, tempo),
    "beat_track_tempo_long": Golden(LONG, lambda signal: 1, tempo),
}
