"""Compares the keys that Antiphon and Essentia find in the rendered pieces with the true ones, by mir_eval's weighted score.

    cargo build -p antiphon-features --example analyse
    python key.py FOLDER --half report --program ../target/debug/examples/analyse

FOLDER is what `render.py` made: each WAV file has a JSON file beside it, which names the `key`, the `tier` and the `score`. Prints
tables in Markdown. What Essentia says is kept beside each piece.
"""

import argparse
import json
import pathlib
import subprocess
from concurrent.futures import ProcessPoolExecutor

import mir_eval
import numpy as np

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


def bounds(differences, scores, rounds=10_000):
    """Mean, and its lower and upper 95 % bound: whole scores are drawn again."""
    groups = {}
    for score, difference in zip(scores, differences):
        groups.setdefault(score, []).append(difference)
    sums, counts = (np.array([of(group) for group in groups.values()]) for of in (sum, len))
    drawn = np.random.default_rng(1).integers(0, len(sums), (rounds, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return sums.sum() / counts.sum(), *np.percentile(means, [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--half", choices=["tune", "report"], default="report")
    parser.add_argument("--program", required=True, help="the example `analyse` of crates/features")
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    paths = sorted(path for path in (wanted.folder / wanted.half).glob("*.wav") if path.with_suffix(".json").exists())
    truths = [json.loads(path.with_suffix(".json").read_text()) for path in paths]
    with ProcessPoolExecutor(wanted.workers) as pool:
        asked = list(pool.map(essentia_says, paths))
    answers = {"Antiphon": antiphon(paths, wanted.program)}
    answers |= {f"Essentia {name}": [found[name] for found in asked] for name in PROFILES}

    weighted = {}
    for name, keys in answers.items():
        # Without an answer the score is 0.
        given = [(truth["key"], key) for truth, key in zip(truths, keys)]
        weighted[name] = np.array([mir_eval.key.weighted_score(*pair) if isinstance(pair[1], str) else 0.0 for pair in given])
    tiers = ["plain", "drums", "hard"]
    scores = [truth["score"] for truth in truths]
    print(f"{len(paths)} pieces of {len(set(scores))} scores\n")
    print("| tool | weighted | exact | " + " | ".join(tiers) + " |\n|---|---|---|" + "---|" * len(tiers))
    for name, values in weighted.items():
        means = [values.mean(), np.mean(values == 1.0)]
        means += [np.mean([value for value, truth in zip(values, truths) if truth["tier"] == tier]) for tier in tiers]
        print(f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    best = max((name for name in weighted if name != "Antiphon"), key=lambda name: weighted[name].mean())
    mean, low, high = bounds(weighted["Antiphon"] - weighted[best], scores)
    print(f"\nAgainst {best}: {mean:+.3f}, 95 % bounds {low:+.3f} to {high:+.3f}")


if __name__ == "__main__":
    main()
