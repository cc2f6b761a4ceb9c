"""Compares `onset_detect` and `beat_track` of whole recordings with librosa, whose definitions they follow, and prints a table in
Markdown.

    python agree.py FOLDER --program ../target/release/examples/analyse

FOLDER holds recordings (WAV, FLAC, Ogg, MP3) of up to 20 minutes. Librosa decodes and resamples by itself, so this is the
whole way from the file on; of WAV files of floats at 22,050 samples a second both have the same samples. F of onsets is mir_eval's at
50 ms and at a frame of 23 ms, F of beats mir_eval's at 70 ms (all beats, none left out at the start).
"""

import argparse
import json
import pathlib
import subprocess

import mir_eval
import numpy as np

import tools


def ours(paths, program):
    wanted = "onset_detect.onset,beat_track.beat,beat_track.tempo"
    out = subprocess.run([program, wanted, *map(str, paths)], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        found = json.loads(line)
        starts = lambda kind: [a["from"] for a in found["annotations"] if a["type"] == kind]
        tempo = found["summaries"]["beat_track.tempo"]
        yield {
            "tempo": tempo if isinstance(tempo, float) else 0.0,
            "beats": starts("beat_track.beat"),
            "onsets": starts("onset_detect.onset"),
        }


def compare(expected, found):
    """F of onsets at 50 and 23.3 ms, F of beats, and whether the tempo is the same."""
    events = {key: (np.array(expected[key]), np.array(found[key])) for key in ("onsets", "beats")}
    onsets = [mir_eval.onset.f_measure(*events["onsets"], window=window)[0] for window in (0.05, 0.0233)]
    return *onsets, mir_eval.beat.f_measure(*events["beats"]), abs(found["tempo"] / expected["tempo"] - 1) < 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--program", type=pathlib.Path, required=True, help="the example `analyse`")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.iterdir() if path.suffix in tools.SOUNDS)
    print("| recording | onsets | F, 50 ms | F, 23 ms | beats | F, 70 ms | tempo |\n|---|---|---|---|---|---|---|")
    rows = []
    for path, found in zip(paths, ours(paths, arguments.program), strict=True):
        expected = tools.librosa(path)
        row = compare(expected, found)
        rows.append(row)
        counts = [len(expected["onsets"]), len(expected["beats"])]
        tempo = "the same" if row[3] else f"{found['tempo']:.2f}, not {expected['tempo']:.2f}"
        print(f"| {path.stem} | {counts[0]} | {row[0]:.4f} | {row[1]:.4f} | {counts[1]} | {row[2]:.4f} | {tempo} |", flush=True)
    mean, least = np.mean(rows, axis=0), np.min(rows, axis=0)
    print(f"| mean | | {mean[0]:.4f} | {mean[1]:.4f} | | {mean[2]:.4f} | {mean[3]:.2f} |")
    print(f"| least | | {least[0]:.4f} | {least[1]:.4f} | | {least[2]:.4f} | |")


if __name__ == "__main__":
    main()
