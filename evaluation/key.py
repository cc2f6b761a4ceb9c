"""Compares the keys that Antiphon and Essentia find in the rendered pieces with the true ones, by mir_eval's weighted score.

    cargo build -p antiphon-features --example analyse
    python key.py FOLDER --program ../target/debug/examples/analyse

FOLDER holds sounds, each with a JSON file of its name: `score`, `tier` and `key`; what has no key is passed over. All performances
of a score that lie there are pooled. Prints tables in Markdown. What Essentia says is kept beside each piece.
"""

import argparse
import json
import pathlib
import subprocess
from concurrent.futures import ProcessPoolExecutor

import mir_eval
import numpy as np

import tools
from measure import bootstrap

# All that KeyExtractor has, but for two that are not meant for finding keys (tonictriad, weichai).
PROFILES = ["bgate", "braw", "diatonic", "edma", "edmm", "gomez", "krumhansl", "noland", "shaath", "temperley", "temperley2005",
            "thpcp"]


def antiphon(paths, program):
    out = subprocess.run([program, "key", *map(str, paths)], check=True, capture_output=True, text=True).stdout
    return [json.loads(line)["summaries"]["key.key"] for line in out.splitlines()]


def essentia_says(path):
    """The key by each profile."""
    kept = path.with_suffix(".keys")
    if not kept.exists():
        import essentia
        essentia.log.infoActive = False
        from essentia.standard import KeyExtractor, MonoLoader

        samples = MonoLoader(filename=str(path), sampleRate=44_100)()
        found = {name: " ".join(KeyExtractor(profileType=name)(samples)[:2]) for name in PROFILES}
        kept.write_text(json.dumps(found))
    return json.loads(kept.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--program", required=True, help="the example `analyse` of crates/features")
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    paths, truths = zip(*((path, truth) for path, truth in tools.pieces(wanted.folder) if "key" in truth))
    with ProcessPoolExecutor(wanted.workers) as pool:
        asked = list(pool.map(essentia_says, paths))
    answers = {"Antiphon": antiphon(paths, wanted.program)}
    answers |= {f"Essentia {name}": [found[name] for found in asked] for name in PROFILES}

    weighted = {}
    for name, keys in answers.items():
        # Without an answer the score is 0.
        given = [(truth["key"], key) for truth, key in zip(truths, keys)]
        weighted[name] = np.array([mir_eval.key.weighted_score(*pair) if isinstance(pair[1], str) else 0.0 for pair in given])
    tiers = list(dict.fromkeys(truth["tier"] for truth in truths))
    scores = [truth["score"] for truth in truths]
    print(f"{len(paths)} pieces of {len(set(scores))} scores\n")
    print("| tool | weighted | exact | " + " | ".join(tiers) + " |\n|---|---|---|" + "---|" * len(tiers))
    for name, values in weighted.items():
        means = [values.mean(), np.mean(values == 1.0)]
        means += [np.mean([value for value, truth in zip(values, truths) if truth["tier"] == tier]) for tier in tiers]
        print(f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    best = max((name for name in weighted if name != "Antiphon"), key=lambda name: weighted[name].mean())
    mean, low, high = bootstrap(weighted["Antiphon"] - weighted[best], scores)
    print(f"\nAgainst {best}: {mean:+.3f}, 95 % bounds {low:+.3f} to {high:+.3f}")


if __name__ == "__main__":
    main()
