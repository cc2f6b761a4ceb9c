"""Fits the weights by which `rhythm` chooses among beats, and tells by cross-validation over scores what they are worth.

    python render.py /tmp/pieces --half tune --variants 3
    python packages.py /tmp/second --half tune --variants 3
    python fit_rhythm.py /tmp/pieces/tune /tmp/second/tune --program ../target/release/examples/analyse

Candidates and their numbers are found here a second time, as crates/features/src/rhythm defines them, with librosa's mel bands.
`--program` asks Antiphon for the tempo of every piece too, and tells how often it is the one that the weights in use choose here: that
both are the same definition. The weights are those of a softmax over the candidates of a piece; they make the expected worth
(`worth_of`) largest, less a penalty on the sum of the squares of the weights of standardised numbers. Prints the weights as weights.rs
has them. Never run it on `report`.
"""

import argparse
import pathlib
import re
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import scipy.optimize
from numba import njit

import tools
from measure import MEASURES, measure

RATE, SIZE, HOP = 22_050, 2_048, 512
FRAMES = RATE / HOP
WEIGHTS = pathlib.Path(__file__).parent.parent / "crates/features/src/rhythm/weights.rs"
LATENESS = 0.008
RATIOS = [2.0, 0.5, 3.0, 1 / 3, 1.5, 2 / 3]
SHARES = np.array([1.0, 0.8, 0.6, 0.5])
SAME = 0.045
LAGS = 521
FOLDS = 10
PENALTIES = [1.0, 3.0, 10.0]
# How much a tempo at another level of the metre counts beside the right one, and a rendered piece beside one of the second set.
OTHER_LEVEL, RENDERED = 0.15, 0.5
RENDERED_TIERS = ("plain", "drums", "hard")


def curves_of(path):
    """Rises of four ranges, and changes of harmony (curves.rs)."""
    import librosa

    samples, _ = librosa.load(path, sr=RATE)
    power = np.abs(librosa.stft(samples, n_fft=SIZE, hop_length=HOP)) ** 2
    mel = librosa.feature.melspectrogram(S=power, sr=RATE, n_mels=128).T
    bands = 10 * np.log10(np.maximum(mel, 1e-10))
    bands = np.maximum(bands, np.maximum.accumulate(bands.max(axis=1))[:, None] - 60)
    rise = np.maximum(np.diff(bands, axis=0, prepend=bands[:1]), 0)
    rises = [rise[:, start:end].mean(axis=1) for start, end in [(0, 6), (6, 18), (18, 56), (56, 128)]]
    edge = lambda semitone: int(np.floor(110 * 2 ** (semitone / 12) * SIZE / RATE + 0.5))
    edges = [(edge(n - 0.5), max(edge(n + 0.5), edge(n - 0.5) + 1)) for n in range(60)]
    tones = np.stack([power[start:end].sum(axis=0) for start, end in edges], axis=1)
    tones = np.log1p(tones / (np.maximum.accumulate(tones.max(axis=1)) * 1e-4 + 1e-12)[:, None])
    sums = np.concatenate([np.zeros((1, 60)), np.cumsum(tones, axis=0, dtype=float)])
    changes = np.zeros(len(tones))
    if len(tones) >= 24:
        before, after = sums[12:-12] - sums[:-24], sums[24:] - sums[12:-12]
        norm = lambda rows: np.sum(rows * rows, axis=1)
        likeness = np.sum(before * after, axis=1) / (np.sqrt(norm(before) * norm(after)) + 1e-9)
        changes[12 : 12 + len(likeness)] = np.where(likeness > 0, np.maximum(1 - likeness, 0), 0)
    return rises, changes


def outstanding(curve):
    """What stands out from the mean over two seconds, in standard deviations of that (pulse.rs)."""
    at, count = np.arange(len(curve)), len(curve)
    start, end = np.maximum(at - 43, 0), np.minimum(at + 44, count)
    if count < 87:
        start, end = np.zeros_like(at), np.full_like(at, count)
    sums = np.concatenate([[0], np.cumsum(curve)])
    found = np.maximum(curve - (sums[end] - sums[start]) / (end - start), 0)
    return found / (found.std() + 1e-9)


class Likeness:
    """The autocorrelation at every lag."""

    def __init__(self, curve):
        centred = curve - curve.mean()
        lags = range(min(LAGS, len(centred)))
        products = np.array([centred[: len(centred) - lag] @ centred[lag:] / (len(centred) - lag) for lag in lags])
        self.values = np.pad(products / (products[0] + 1e-12), (0, LAGS - len(products)))

    def at(self, lag):
        whole = int(lag)
        if whole + 2 > len(self.values):
            return 0.0
        return self.values[whole] * (1 - lag + whole) + self.values[whole + 1] * (lag - whole)


def periods_of(likeness):
    """(frames, salience), the most salient first."""
    frames = 0.25 * np.exp(0.01 * np.arange(218)) * FRAMES
    salience = np.array([sum(s * likeness.at(f * n) for s, n in zip(SHARES, range(1, 5))) / SHARES.sum() for f in frames])
    allowed = lambda frames: 0.27 <= frames / FRAMES <= 1.5
    peaks = [(frames[n], salience[n]) for n in range(1, 217)
             if salience[n] >= salience[n - 1] and salience[n] > salience[n + 1] and allowed(frames[n])]
    peaks = sorted(peaks, key=lambda peak: -peak[1])[:7]
    for period, _ in peaks[:3]:
        for ratio in RATIOS:
            near = np.flatnonzero(np.abs(np.log(frames / (period * ratio))) < SAME)
            if allowed(period * ratio) and len(near):
                best = near[np.argmax(salience[near])]
                peaks.append((frames[best], salience[best]))
    found = []
    for period in sorted(peaks, key=lambda peak: -peak[1]):
        if all(abs(np.log(other / period[0])) > SAME for other, _ in found):
            found.append(period)
    return found[:12]


@njit(cache=True)
def fit(curve, periods, tightness):
    """Beats by dynamic programming (pulse.rs)."""
    count = len(curve)
    totals, before = np.zeros(count), np.full(count, -1)
    for at in range(count):
        period = periods[at]
        shortest, longest = max(int(np.floor(period * 0.5 + 0.5)), 1), int(np.floor(period * 2 + 0.5))
        best, place = -np.inf, -1
        for lag in range(shortest, min(longest, at) + 1):
            total = totals[at - lag] - tightness * (np.log(lag) - np.log(period)) ** 2
            if total > best:
                best, place = total, at - lag
        joins = place >= 0 and (best > 0 or at > longest)
        totals[at] = curve[at] + (best if joins else 0.0)
        before[at] = place if joins else -1
    tail = max(count - int(np.floor(periods[-1] + 0.5)) - 1, 0)
    at = tail + np.argmax(totals[tail:])
    found = [at]
    while before[at] >= 0:
        at = before[at]
        found.append(at)
    return np.array(found[::-1])


def swaying(curve, first):
    """Beats whose period is that of the eight around in `first` (pulse.rs)."""
    places, last = np.arange(len(first)), len(first) - 1
    start, end = np.maximum(places - 4, 0), np.minimum(places + 4, last)
    distances = (first[end] - first[start]) / (end - start)
    return fit(curve, np.interp(np.arange(len(curve)), first, distances), 200.0)


# Shares and multiples of a period at which autocorrelations are looked at.
MULTIPLES = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 2, 3, 4, 6, 8)


def evidence(signals, likenesses, frames, salience, phase, beats):
    """The numbers of a candidate (evidence.rs)."""
    distances = np.diff(beats)
    between = lambda shares: np.concatenate([beats[:-1] + distances * share for share in shares])
    places = [between([0.5]), between([1 / 3, 2 / 3]), between([0.25, 0.75])]
    octaves = np.log2(frames / FRAMES / 0.55)
    found = [octaves, octaves**2, abs(octaves) ** 3, salience, phase, distances.std() / np.median(distances)]
    logarithm = lambda values: np.log(np.mean(values) + 0.1) if len(values) else np.log(0.1)
    seconds = []
    for curve, reach in signals:
        def near(places):
            at = np.minimum(np.round(places).astype(int), len(curve) - 1)
            padded = np.pad(curve, reach)
            return np.maximum(np.max([padded[at + n] for n in range(2 * reach + 1)], axis=0), 0)

        on = near(beats)
        seconds.append(logarithm(on[::2]) - logarithm(on[1::2]))
        thirds = sorted(logarithm(on[n::3]) for n in range(3))
        found += [logarithm(on), *(logarithm(near(group)) for group in places), abs(seconds[-1]), thirds[2] - thirds[1]]
    found += [-seconds[1] * seconds[2], -seconds[1] * seconds[3], -seconds[2] * seconds[3], seconds[1] * seconds[4]]
    of_likenesses = [likeness.at(frames * times) for likeness in likenesses for times in MULTIPLES]
    return [*found, *of_likenesses, *(octaves * number for number in [salience, *of_likenesses])]


def candidates_of(raw, changes):
    """Tempo, beats in seconds and evidence of each candidate."""
    rises = [outstanding(rise) for rise in raw]
    scaled = changes / (changes.std() + 1e-9)
    together = lambda weights, change: outstanding(sum(w * r for w, r in zip(weights, rises)) + change * scaled)
    curve = together([3, 1, 1, 1], 2.0)
    likenesses = [Likeness(curve), Likeness(rises[0]), Likeness(changes)]
    signals = [(together([1, 1, 1, 1], 0.0), 1), (rises[0], 1), (rises[1], 1), (rises[3], 1), (changes / (changes.mean() + 1e-9), 2)]
    periods, found = periods_of(likenesses[0]), []
    for frames, salience in periods:
        first = fit(curve, np.full(len(curve), frames), 100.0)
        if len(first) < 5 or periods[0][1] <= 0:
            continue
        even = frames if len(first) <= 16 else np.median((first[8:] - first[:-8]) / 8)
        for steady, beats in enumerate((swaying(curve, first), fit(signals[0][0], np.full(len(curve), even), 1000.0))):
            beats = beats.astype(float)
            if len(beats) < 5:
                continue
            for phase, places in enumerate((beats, (beats[1:] + beats[:-1]) / 2)):
                distance = np.median(places[4:] - places[:-4]) / 4 if len(places) > 8 else frames
                numbers = evidence(signals, likenesses, frames, salience / periods[0][1], phase, places)
                found.append((60 * FRAMES / distance, places / FRAMES - LATENESS, [*numbers, steady, steady * phase]))
    return found


def kept(folder, path, kind, make):
    """Arrays by name, out of the file that keeps them if there is one."""
    file = folder / f"{'-'.join(path.resolve().with_suffix('').parts[-3:])}.{kind}.npz"
    if not file.exists():
        np.savez(file, **make())
    with np.load(file) as stored:
        return dict(stored)


def learn_from(job):
    """Evidence of the candidates of a piece, and what each is worth: tempo, Accuracy 1 and 2, beat F, CMLt, AMLt (NaN without beats)."""
    path, truth, folder = job

    def curves():
        rises, changes = curves_of(path)
        return {"rises": np.array(rises, dtype=np.float32), "changes": changes.astype(np.float32)}

    def judged():
        heard = kept(folder, path, "curves", curves)
        found = candidates_of(heard["rises"].astype(float), heard["changes"].astype(float))
        return {"rows": [row_of(truth, tempo, beats) for tempo, beats, _ in found], "evidence": [row for *_, row in found]}

    return kept(folder, path, "evidence", judged)


def row_of(truth, tempo, beats):
    found = measure(truth, {"tempo": tempo, "beats": beats})
    return [tempo, *(found.get(name, np.nan) for name in MEASURES[:5])]


def worth_of(rows):
    """What it is worth to choose each candidate: above all the mean of beat F and Accuracy 1 (Accuracy 1 where beats are not known), and
    a little what is right at another level of the metre."""
    _, first, second, beat_f, _, any_level = rows.T
    own = np.where(np.isnan(beat_f), first, (beat_f + first) / 2)
    other = np.where(np.isnan(any_level), second, (any_level + second) / 2)
    return (1 - OTHER_LEVEL) * own + OTHER_LEVEL * other


class Pieces:
    """Candidates of many pieces in one row."""

    def __init__(self, pieces):
        self.evidence = np.concatenate([piece["evidence"] for piece in pieces])
        self.worth = np.concatenate([worth_of(piece["rows"]) for piece in pieces])
        counts = [len(piece["rows"]) for piece in pieces]
        self.first = np.cumsum([0] + counts)[:-1]
        self.piece = np.repeat(np.arange(len(pieces)), counts)
        # Pieces rendered from scores are many, and like one another.
        share = np.array([RENDERED if piece["tier"] in RENDERED_TIERS else 1.0 for piece in pieces])
        self.share = share / share.mean()

    def probability(self, scores):
        scores = np.exp(scores - np.maximum.reduceat(scores, self.first)[self.piece])
        return scores / np.add.reduceat(scores, self.first)[self.piece]


def fitted(pieces, penalty):
    """Weights for evidence as it is."""
    data = Pieces(pieces)
    spread = data.evidence.std(axis=0) + 1e-9
    rows = (data.evidence - data.evidence.mean(axis=0)) / spread
    share = data.share[data.piece]

    def loss(weights):
        probability = data.probability(rows @ weights)
        expected = np.add.reduceat(probability * data.worth, data.first)
        slope = share * probability * (data.worth - expected[data.piece])
        return penalty * weights @ weights - data.share @ expected, 2 * penalty * weights - slope @ rows

    def likelihood(weights):
        # Where the other begins: what is right is likely. It has no second maximum.
        wanted = data.worth**4 + 1e-6
        wanted = wanted / np.add.reduceat(wanted, data.first)[data.piece]
        probability = data.probability(rows @ weights)
        lost = penalty * weights @ weights - (share * wanted) @ np.log(probability + 1e-300)
        return lost, 2 * penalty * weights - (share * (wanted - probability)) @ rows

    start = scipy.optimize.minimize(likelihood, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x
    return scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x / spread


def chosen(piece, weights):
    """The candidate whose probability and that of its tempo (in both phases, of whichever period) are largest together (choice.rs)."""
    scores = piece["evidence"] @ weights
    probability = np.exp(scores - scores.max())
    tempo = piece["rows"][:, 0]
    same = np.abs(tempo / tempo[:, None] - 1) <= 0.04
    return int(np.argmax(probability + same @ probability))


def judged(pieces, weights):
    """Tempo and measures of what the weights choose, a row for each piece."""
    return np.array([piece["rows"][chosen(piece, weights)] for piece in pieces])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=pathlib.Path, nargs="+", help="halves for tuning")
    parser.add_argument("--program", help="the example `analyse` of crates/features")
    parser.add_argument("--variants", default="", help="only pieces whose names end in one of these digits")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("/tmp/rhythm-cache"), help="keeps curves and evidence")
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    wanted.cache.mkdir(parents=True, exist_ok=True)
    found = [piece for folder in wanted.folders for piece in tools.pieces(folder)]
    jobs = [(*piece, wanted.cache) for piece in found if not wanted.variants or piece[0].stem[-1] in wanted.variants]
    with ProcessPoolExecutor(wanted.workers) as pool:
        pieces = list(pool.map(learn_from, jobs, chunksize=8))
    pieces = [{**piece, "path": path, **truth} for piece, (path, truth, _) in zip(pieces, jobs) if len(piece["rows"])]
    used = np.array([float(number) for number in re.findall(r"-?[0-9]+\.[0-9]+(?=,)", WEIGHTS.read_text())])
    scores = [piece["score"] for piece in pieces]
    print(f"{len(pieces)} pieces of {len(set(scores))} scores, {sum(len(piece['rows']) for piece in pieces)} candidates\n")
    if wanted.program:
        told = [answer["tempo"] for answer in tools.antiphon([piece["path"] for piece in pieces], wanted.program)]
        here = judged(pieces, used)[:, 0]
        print(f"Antiphon's tempo is the one chosen here in {np.mean(np.abs(told / here - 1) < 0.005):.3f} of the pieces\n")
    print("| weights | tier | " + " | ".join(MEASURES[:5]) + " |\n|---|---|" + "---|" * 5)
    show("in use (they have seen these scores)", pieces, judged(pieces, used))
    order = sorted(set(scores))
    np.random.default_rng(1).shuffle(order)
    fold = np.array([order.index(score) % FOLDS for score in scores])
    worth = {}
    for penalty in PENALTIES:
        rows = np.zeros((len(pieces), 6))
        for number in range(FOLDS):
            weights = fitted([piece for piece, own in zip(pieces, fold) if own != number], penalty)
            these = np.flatnonzero(fold == number)
            rows[these] = judged([pieces[n] for n in these], weights)
        show(f"penalty {penalty:g}, scores left out", pieces, rows)
        worth[penalty] = Pieces(pieces).share @ worth_of(rows)
    penalty = max(worth, key=worth.get)
    weights = fitted(pieces, penalty)
    show(f"penalty {penalty:g}, fitted to all", pieces, judged(pieces, weights))
    print(f"\nLikeness (cosine, standardised) of these weights to those in use: {likeness(pieces, weights, used):.3f}\n")
    for start in range(0, len(weights), 10):
        print("    " + " ".join(f"{weight:.4f}," for weight in weights[start : start + 10]))


def show(name, pieces, rows):
    """A line for all pieces, and one for each tier."""
    tiers = [piece["tier"] for piece in pieces]
    for tier in [None, *dict.fromkeys(tiers)]:
        own = rows[[tier in (None, other) for other in tiers], 1:]
        cells = [f"{np.nanmean(column):.3f}" if not np.all(np.isnan(column)) else "" for column in own.T]
        print(f"| {'' if tier else name} | {tier or 'all'}, {len(own)} | " + " | ".join(cells) + " |", flush=True)


def likeness(pieces, a, b):
    spread = Pieces(pieces).evidence.std(axis=0)
    return float((a * spread) @ (b * spread) / (np.linalg.norm(a * spread) * np.linalg.norm(b * spread) + 1e-12))


if __name__ == "__main__":
    main()
