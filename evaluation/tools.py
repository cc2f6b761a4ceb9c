"""What each tool says of a piece: {"tempo": beats a minute, "beats": seconds, "onsets": seconds}; what it cannot tell is left
out. To join with another task, add its answer to these and its measure to measure.py."""

import json
import subprocess

import numpy as np

SOUNDS = (".wav", ".flac", ".ogg", ".mp3")


def pieces(folder):
    """(path of the sound, truth) of all pieces of a folder: each JSON file with a sound of the same name beside it."""
    found = []
    for truth in sorted(folder.glob("*.json")):
        sounds = [path for path in map(truth.with_suffix, SOUNDS) if path.exists()]
        found += [(sounds[0], json.loads(truth.read_text()))] if sounds else []
    return found


def antiphon(paths, program):
    """All pieces in one run of the example `analyse` of crates/features."""
    out = subprocess.run([program, "onset,rhythm", *map(str, paths)], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        found = json.loads(line)
        starts = lambda kind: [a["from"] for a in found["annotations"] if a["type"] == kind]
        tempo = found["summaries"]["rhythm.tempo"]
        yield {
            "tempo": tempo if isinstance(tempo, float) else 0.0,
            "beats": starts("rhythm.beat"),
            "onsets": starts("onset.onset"),
        }


def librosa(path):
    import librosa

    y, rate = librosa.load(path, sr=22_050)
    tempo, beats = librosa.beat.beat_track(y=y, sr=rate, units="time")
    onsets = librosa.onset.onset_detect(y=y, sr=rate, units="time")
    return {"tempo": float(np.atleast_1d(tempo)[0]), "beats": list(map(float, beats)), "onsets": list(map(float, onsets))}


def load(path):
    import essentia

    # It warns of every network that it takes down.
    essentia.log.infoActive = essentia.log.warningActive = False
    from essentia.standard import MonoLoader

    return MonoLoader(filename=str(path), sampleRate=44_100)()


def multifeature(path):
    from essentia.standard import OnsetRate, RhythmExtractor2013

    samples = load(path)
    tempo, beats, *_ = RhythmExtractor2013(method="multifeature")(samples)
    onsets, _ = OnsetRate()(samples)
    return {"tempo": float(tempo), "beats": list(map(float, beats)), "onsets": list(map(float, onsets))}


def degara(path):
    from essentia.standard import RhythmExtractor2013

    tempo, beats, *_ = RhythmExtractor2013(method="degara")(load(path))
    return {"tempo": float(tempo), "beats": list(map(float, beats))}


def percival(path):
    from essentia.standard import PercivalBpmEstimator

    return {"tempo": float(PercivalBpmEstimator()(load(path)))}


def aubio(path):
    def times(*command):
        out = subprocess.run([*command, str(path)], check=True, capture_output=True, text=True).stdout
        return [float(line.split()[0]) for line in out.splitlines() if line.strip()]

    beats = times("aubiotrack", "-i")
    # As `aubio tempo` does: the median of what lies between its beats.
    tempo = 60.0 / float(np.median(np.diff(beats))) if len(beats) > 1 else 0.0
    return {"tempo": tempo, "beats": beats, "onsets": times("aubioonset", "-i")}


PEERS = {"librosa": librosa, "multifeature": multifeature, "degara": degara, "percival": percival, "aubio": aubio}
