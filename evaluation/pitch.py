"""Makes voices of known pitch, and compares what Antiphon and other tools say of them by mir_eval's definitions.

    cargo build -p antiphon-features --example frames
    python pitch.py FOLDER --half report --program ../target/debug/examples/frames

Needs mir_eval, librosa 0.11, essentia, soundfile, and the command `aubiopitch` (Debian: aubio-tools). Prints tables in Markdown.
"""

import argparse
import csv
import io
import json
import pathlib
import subprocess
from concurrent.futures import ProcessPoolExecutor

import mir_eval
import numpy as np
import soundfile

from measure import bootstrap

RATE = 44_100
SECONDS = 6
HOP = 0.01
KINDS = ["notes", "glide", "vibrato", "weak fundamental", "rough"]
NOISE_DB = [20, 10, 5, 0]
SEEDS = {"tune": range(100, 103), "report": range(200, 204)}
RANGE = (65.5, 2_093.0)
MEASURES = ["Raw Pitch Accuracy", "Raw Chroma Accuracy", "Voicing Recall", "Voicing False Alarm", "Overall Accuracy"]


def smooth(count, seconds, generator):
    """A random line of mean square 1 that changes over so many seconds."""
    points = generator.standard_normal(int(count / RATE / seconds) + 4)
    return np.interp(np.arange(count) / RATE / seconds, np.arange(len(points)), points)


def noise(count, falls, generator):
    """Noise of mean square 1 whose power falls by so many dB an octave."""
    spectrum = np.fft.rfft(generator.standard_normal(count))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (-falls / 6.02)
    spectrum[0] = 0
    found = np.fft.irfft(spectrum, count)
    return found / np.sqrt(np.mean(found**2))


def make(kind, noise_db, seed):
    """Samples, and the pitch at every sample (0 where there is none)."""
    generator = np.random.default_rng([KINDS.index(kind), noise_db, seed])
    count = SECONDS * RATE
    t = np.arange(count) / RATE
    low, high = np.sort(generator.uniform(np.log2(80), np.log2(900), 2))
    pitch, sounds, at = np.zeros(count), np.zeros(count), 0
    while at < count:
        length = int(generator.uniform(0.25, 1.2) * RATE)
        part = slice(at, min(at + length, count))
        place = np.arange(part.stop - part.start) / RATE
        start, end = generator.uniform(low - 0.2, high + 0.2, 2)
        if kind == "glide":
            octaves = start + (end - start) * (place / max(place[-1], 1e-9))
        elif kind == "vibrato":
            octaves = start + generator.uniform(0.3, 1.2) / 12 * np.sin(2 * np.pi * generator.uniform(4, 7.5) * place)
        else:
            octaves = np.full(len(place), start)
        pitch[part] = octaves
        fade = np.clip(np.minimum(place, place[-1] - place) / 0.015, 0, 1)
        sounds[part] = fade * generator.uniform(0.5, 1)
        # A rest after about every second sound.
        at += length + int(generator.choice([0, generator.uniform(0.15, 0.6)]) * RATE)
    voiced = sounds > 0
    frequency = np.where(voiced, 2**pitch, 0)
    played = frequency
    if kind == "rough":
        # Periods that differ at random and from one to the next, and breath that follows the loudness.
        played = frequency * (1 + 0.012 * noise(count, 3, generator) + 0.006 * smooth(count, 0.02, generator))
    phase = 2 * np.pi * np.cumsum(played) / RATE
    falls, formants = generator.uniform(3, 12), generator.uniform([400, 900, 2_300], [800, 1_800, 3_200])
    samples = np.zeros(count)
    for number in range(1, 31):
        at_hertz = number * frequency
        level = number ** (-falls / 6.02) * (1 + sum(2 / (1 + ((at_hertz - f) / 150) ** 2) for f in formants))
        if kind == "weak fundamental" and number <= 2:
            level = level * (0.02 if number == 1 else 0.3)
        if kind == "rough":
            level = level * (1 + 0.25 * smooth(count, 0.01, generator))
        samples += np.where(at_hertz < 0.45 * RATE, level * np.sin(number * phase + generator.uniform(0, 2 * np.pi)), 0)
    samples *= sounds
    if kind == "rough":
        # Every second period louder: a tone an octave below, which listeners do not hear as the pitch.
        samples *= 1 + 0.12 * np.sin(phase / 2)
        samples += 0.1 * sounds * np.sqrt(np.mean(samples[voiced] ** 2)) * noise(count, 0, generator)
    level = np.sqrt(np.mean(samples[voiced] ** 2))
    hiss = noise(count, generator.choice([0.0, 3.0]), generator)
    samples = samples / level + 10 ** (-noise_db / 20) * hiss
    return 0.7 * samples / np.max(np.abs(samples)), frequency


def pieces(folder, half):
    """Paths of the files of a half, made where they are missing; the truth lies beside each as CSV of time and pitch."""
    for kind in KINDS:
        for noise_db in NOISE_DB:
            for seed in SEEDS[half]:
                path = folder / half / f"{kind.replace(' ', '_')}-{noise_db}-{seed}.wav"
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    samples, frequency = make(kind, noise_db, seed)
                    every = np.arange(0, SECONDS, HOP)
                    truth = np.stack([every, frequency[(every * RATE).astype(int)]], axis=1)
                    np.savetxt(path.with_suffix(".csv"), truth, delimiter=",", fmt="%.4f")
                    soundfile.write(path, samples, RATE, subtype="PCM_16")
                yield path, kind, noise_db


def antiphon(program, path):
    """YIN with the sign of its voicing, probabilistic YIN, and `melody`."""
    def run(*arguments):
        out = subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
        rows = list(csv.DictReader(io.StringIO(out)))
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}

    voiced, every = run("pitch", path), run("pitch", path, "aperiodicity_limit=10")
    voice = run("melody", path)
    yin = np.where(np.isnan(voiced["yin"]), -every["yin"], every["yin"])
    found = {"Antiphon pitch.yin": (every["seconds"], yin), "Antiphon pitch.f0": (every["seconds"], every["f0"]),
             "Antiphon melody.f0": (voice["seconds"], voice["f0"])}
    return {name: (times, np.nan_to_num(pitches)) for name, (times, pitches) in found.items()}


def librosa_says(path):
    import librosa

    y, rate = librosa.load(path, sr=22_050)
    yin = librosa.yin(y, fmin=RANGE[0], fmax=RANGE[1], sr=rate)
    f0, voiced, _ = librosa.pyin(y, fmin=RANGE[0], fmax=RANGE[1], sr=rate, fill_na=0.0)
    times = librosa.times_like(yin, sr=rate)
    return {"librosa yin": (times, yin), "librosa pyin": (times, f0)}


def essentia_says(path):
    import essentia
    essentia.log.infoActive = False
    from essentia.standard import FrameGenerator, MonoLoader, PitchYinFFT, Windowing, Spectrum

    samples = MonoLoader(filename=str(path), sampleRate=RATE)()
    window, spectrum = Windowing(type="hann"), Spectrum()
    # At a confidence of half or more it is taken for voiced.
    tracker = PitchYinFFT(minFrequency=RANGE[0], maxFrequency=RANGE[1])
    found = [tracker(spectrum(window(frame))) for frame in FrameGenerator(samples, frameSize=2_048, hopSize=512)]
    fft = np.array([pitch if confidence >= 0.5 else -pitch for pitch, confidence in found])
    times = np.arange(len(fft)) * 512 / RATE
    return {"PitchYinFFT": (times, fft)}


def aubio_says(path):
    out = subprocess.run(["aubiopitch", "-i", str(path), "-p", "yinfft", "-H", "512", "-B", "2048"],
                         check=True, capture_output=True, text=True).stdout
    rows = np.array([[float(value) for value in line.split()[:2]] for line in out.splitlines() if line.strip()])
    return {"aubio yinfft": (rows[:, 0], rows[:, 1])}


def others(path):
    """What other tools say; kept beside the file."""
    kept = path.with_suffix(".json")
    if not kept.exists():
        found = {**librosa_says(path), **essentia_says(path), **aubio_says(path)}
        kept.write_text(json.dumps({name: [list(map(float, part)) for part in pair] for name, pair in found.items()}))
    return {name: tuple(map(np.array, pair)) for name, pair in json.loads(kept.read_text()).items()}


def measure(job):
    path, program = job
    truth = np.loadtxt(path.with_suffix(".csv"), delimiter=",")
    found = {}
    for name, (times, pitches) in {**antiphon(program, path), **others(path)}.items():
        scores = mir_eval.melody.evaluate(truth[:, 0], truth[:, 1], times, pitches)
        found[name] = [scores[measure] for measure in MEASURES]
    return found


def table(results, names):
    yield "| tool | " + " | ".join(MEASURES) + " |"
    yield "|---|" + "---|" * len(MEASURES)
    for name in names:
        yield f"| {name} | " + " | ".join(f"{value:.3f}" for value in np.mean([found[name] for found in results], axis=0)) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--half", choices=SEEDS, default="report")
    parser.add_argument("--program", required=True, help="the example `frames` of crates/features")
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    made = list(pieces(wanted.folder, wanted.half))
    with ProcessPoolExecutor(wanted.workers) as pool:
        results = list(pool.map(measure, [(path, wanted.program) for path, _, _ in made]))
    names = list(results[0])
    print(f"{len(made)} files\n")
    print("\n".join(table(results, names)))
    print("\nRaw Pitch Accuracy by kind and by noise (dB below the voice)\n")
    groups = [*KINDS, *NOISE_DB]
    print("| tool | " + " | ".join(f"{group} dB" if isinstance(group, int) else group for group in groups) + " |")
    print("|---|" + "---|" * len(groups))
    for name in names:
        means = [np.mean([r[name][0] for r, (_, *facts) in zip(results, made) if group in facts]) for group in groups]
        print(f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    print("\n| measure | best of Antiphon | best other tool | difference | 95 % bounds |\n|---|---|---|---|---|")
    for column in (0, 4):
        values = {name: np.array([found[name][column] for found in results]) for name in names}
        ours, best = (
            max((name for name in names if name.startswith("Antiphon") == own), key=lambda name: np.mean(values[name]))
            for own in (True, False)
        )
        mean, low, high = bootstrap(values[ours] - values[best], range(len(made)))
        print(f"| {MEASURES[column]} | {ours} | {best} | {mean:+.3f} | {low:+.3f} to {high:+.3f} |")


if __name__ == "__main__":
    main()
