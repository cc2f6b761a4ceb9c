"""Compares what Antiphon and other tools say of the rendered pieces with their truth, and prints tables in Markdown.

    python measure.py FOLDER --program ../target/debug/examples/analyse

FOLDER holds sounds, each with a JSON file of its name: `score` (what belongs together), `tier`, and any of `tempo`, `beats` and
`onsets`. All performances of a score that lie there are pooled. What the other tools said is kept beside each piece; `--again`
asks them anew. See README.md.
"""

import argparse
import json
import pathlib
import warnings
from concurrent.futures import ProcessPoolExecutor

import mir_eval
import numpy as np

import tools

MEASURES = ["tempo Accuracy 1", "tempo Accuracy 2", "beat F", "CMLt", "AMLt", "onset F"]


def measure(truth, answer):
    """The measures of one piece that its truth and an answer allow."""
    found = {}
    if "tempo" in answer and "tempo" in truth:
        found["tempo Accuracy 1"] = accurate(answer["tempo"], truth["tempo"], [1])
        found["tempo Accuracy 2"] = accurate(answer["tempo"], truth["tempo"], [1, 2, 3, 1 / 2, 1 / 3])
    with warnings.catch_warnings():
        # No beats at all is an answer that scores 0.
        warnings.simplefilter("ignore")
        if "beats" in answer and "beats" in truth:
            expected = mir_eval.beat.trim_beats(np.array(truth["beats"]))
            beats = mir_eval.beat.trim_beats(np.array(answer["beats"], dtype=float))
            found["beat F"] = mir_eval.beat.f_measure(expected, beats)
            _, found["CMLt"], _, found["AMLt"] = mir_eval.beat.continuity(expected, beats)
        if "onsets" in answer and "onsets" in truth:
            expected, onsets = np.array(truth["onsets"]), np.array(answer["onsets"], dtype=float)
            found["onset F"] = mir_eval.onset.f_measure(expected, onsets)[0]
    return found


def accurate(tempo, truth, factors):
    """Whether a tempo is within 4 % of the true one or of a multiple of it (Gouyon et al. 2006)."""
    return float(any(abs(tempo - factor * truth) <= 0.04 * factor * truth for factor in factors))


def ask(job):
    """What a tool says of a piece, out of the file that keeps it if there is one."""
    name, path, again = job
    kept = path.with_suffix(f".{name}")
    if again or not kept.exists():
        kept.write_text(json.dumps(tools.PEERS[name](path)))
    return json.loads(kept.read_text())


def bootstrap(differences, scores, rounds=10_000):
    """Mean of paired differences, and its lower and upper 95 % bound: whole scores are drawn again, so that performances of one
    score are not taken for independent."""
    groups = {}
    for score, difference in zip(scores, differences):
        groups.setdefault(score, []).append(difference)
    sums, counts = (np.array([of(group) for group in groups.values()]) for of in (sum, len))
    drawn = np.random.default_rng(1).integers(0, len(sums), (rounds, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return sums.sum() / counts.sum(), *np.percentile(means, [2.5, 97.5])


def table(results, rows):
    """Means of all measures for each tool over some pieces, as lines of Markdown."""
    yield "| tool | " + " | ".join(MEASURES) + " |"
    yield "|---|" + "---|" * len(MEASURES)
    for name, found in results.items():
        values = [[found[row][measure] for row in rows if measure in found[row]] for measure in MEASURES]
        yield f"| {name} | " + " | ".join(f"{np.mean(value):.3f}" if value else "" for value in values) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--program", required=True, help="the example `analyse` of crates/features")
    parser.add_argument("--tools", default=",".join(tools.PEERS), help="other tools, divided by commas")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth score, where time is short")
    parser.add_argument("--again", action="store_true", help="ask the other tools anew")
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    pieces = tools.pieces(wanted.folder)
    chosen = set(sorted({truth["score"] for _, truth in pieces})[:: wanted.every])
    paths, truths = zip(*((path, truth) for path, truth in pieces if truth["score"] in chosen))
    answers = {"Antiphon": list(tools.antiphon(paths, wanted.program))}
    with ProcessPoolExecutor(wanted.workers) as pool:
        for name in filter(None, wanted.tools.split(",")):
            answers[name] = list(pool.map(ask, [(name, path, wanted.again) for path in paths]))
    results = {
        name: [measure(truth, answer) for truth, answer in zip(truths, given, strict=True)] for name, given in answers.items()
    }
    every = range(len(paths))
    scores = [truth["score"] for truth in truths]
    print(f"{len(paths)} pieces of {len(set(scores))} scores\n")
    print("\n".join(table(results, every)))
    for tier in dict.fromkeys(truth["tier"] for truth in truths):
        rows = [row for row in every if truths[row]["tier"] == tier]
        print(f"\n{tier}: {len(rows)} pieces\n")
        print("\n".join(table(results, rows)))
    print("\n| measure | best other tool | difference | 95 % bounds |\n|---|---|---|---|")
    for name in MEASURES:
        rows = [row for row in every if name in results["Antiphon"][row]]
        others = {tool: [found[row][name] for row in rows] for tool, found in results.items() if rows and name in found[rows[0]]}
        ours = others.pop("Antiphon", None)
        if others:
            best = max(others, key=lambda tool: np.mean(others[tool]))
            mean, low, high = bootstrap(np.subtract(ours, others[best]), [scores[row] for row in rows])
            print(f"| {name} | {best} | {mean:+.3f} | {low:+.3f} to {high:+.3f} |")


if __name__ == "__main__":
    main()
