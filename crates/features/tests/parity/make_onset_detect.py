"""golden/onset_detect.f32 and onset_detect_long.f32: librosa's onsets, 1 for a frame that is one, else 0."""

import librosa
import numpy as np

import signals
from golden import frames


def marked(events, y):
    """A number for each frame: 1 where there is an event."""
    found = np.zeros(1 + len(y) // 512)
    found[events] = 1
    return found


def onsets(y):
    return marked(librosa.onset.onset_detect(y=y, sr=signals.RATE, hop_length=512), y)


FILES = {
    "onset_detect": frames(onsets),
    "onset_detect_long": frames(onsets, signals.long() + signals.repeated()),
}
