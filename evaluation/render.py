"""Renders scores with FluidSynth: WAV files of 20 to 40 s at 44.1 kHz, mono, each with its truth in a JSON file beside it.

    python render.py FOLDER [--half tune|report] [--variants N] [--every N] [--seconds S] [--fast]

The same arguments give the same files; those that are there are not made again. See README.md for the packages that it needs.
"""

import argparse
import itertools
import json
import os
import pathlib
import random
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor

import mido
import numpy as np
import soundfile

import perform
import scores

RATE = 44_100
# No font is in both halves, nor is one made from a font of the other half.
FONTS = {
    "tune": ["/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf2/MuseScore_General_Full.sf2"],
    "report": ["/usr/share/sounds/sf2/TimGM6mb.sf2", "/usr/share/sounds/sf2/sf_GMbank.sf2"],
}
TIERS = [("plain", False, False), ("drums", True, False), ("hard", False, True), ("hard", True, True)]
# How many times as fast `--fast` plays.
FASTER = 1.5


def write_midi(path, events, programs, cents):
    """One track in which a tick is 0.1 ms."""
    messages = []
    for channel, program in programs.items():
        messages.append((0.0, 0, mido.Message("program_change", channel=channel, program=program)))
        # The range of the bend wheel is two semitones.
        bend = round(cents / 200 * 8192)
        messages.append((0.0, 0, mido.Message("pitchwheel", channel=channel, pitch=bend)))
    for start, stop, number, velocity, channel in events:
        messages.append((start, 2, mido.Message("note_on", channel=channel, note=number, velocity=velocity)))
        messages.append((stop, 1, mido.Message("note_off", channel=channel, note=number)))
    messages.sort(key=lambda item: item[:2])
    track, now = mido.MidiTrack(), 0
    for time, _, message in messages:
        tick = round(time * 10_000)
        track.append(message.copy(time=tick - now))
        now = tick
    file = mido.MidiFile(ticks_per_beat=5_000)
    file.tracks.append(track)
    file.save(path)


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pink(count, generator):
    """Noise whose power falls by 3 dB an octave, of mean square 1."""
    spectrum = np.fft.rfft(generator.standard_normal(count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, count)
    return noise / np.sqrt(np.mean(noise**2))


def spoil(samples, damage, generator, folder):
    """What the hard tier does to a piece: bass taken out, noise, lossy coding."""
    if damage["bass_cut"]:
        spectrum = np.fft.rfft(samples)
        frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
        spectrum *= (frequency / damage["bass_cut"]) ** 2 / (1 + (frequency / damage["bass_cut"]) ** 2)
        samples = np.fft.irfft(spectrum, len(samples))
    if damage["noise_db"] is not None:
        level = np.sqrt(np.mean(samples**2)) * 10 ** (-damage["noise_db"] / 20)
        samples = samples + level * pink(len(samples), generator)
    samples = samples * min(1.0, 0.9 / np.max(np.abs(samples)))
    if damage["codec"]:
        codec, rate = damage["codec"]
        plain, coded, decoded = folder / "plain.wav", folder / f"coded.{codec}", folder / "decoded.wav"
        soundfile.write(plain, samples, RATE, subtype="PCM_16")
        run("ffmpeg", "-y", "-i", plain, "-b:a", rate, coded)
        run("ffmpeg", "-y", "-i", coded, "-ar", RATE, decoded)
        length = len(samples)
        samples = soundfile.read(decoded)[0][:length]
        samples = np.pad(samples, (0, length - len(samples)))
    return samples


def render(job):
    """One piece."""
    score, number, font, (tier, drums, hard), target, seconds, faster = job
    seed = f"{score['name']} {number}" + (" fast" if faster > 1 else "")
    generator = random.Random(seed)
    events, programs, truth = perform.perform(score, drums, hard, generator.uniform(24.0, 36.0) * seconds / 30, faster, generator)
    cents = generator.uniform(-45, 45) if hard and generator.random() < 0.6 else 0.0
    damage = {
        "noise_db": round(generator.uniform(6, 20), 1) if hard and generator.random() < 0.6 else None,
        "bass_cut": round(generator.uniform(120, 300)) if hard and generator.random() < 0.4 else 0,
        "codec": generator.choice([("mp3", "48k"), ("mp3", "64k"), ("ogg", "48k")]) if hard and generator.random() < 0.7 else None,
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_midi(folder / "piece.mid", events, programs, cents)
        run("fluidsynth", "-n", "-i", "-q", "-o", "synth.dynamic-sample-loading=1", "-r", RATE, "-g", "0.5", "-F", folder / "piece.wav", font, folder / "piece.mid")
        samples = soundfile.read(folder / "piece.wav", always_2d=True)[0].mean(axis=1)
        end = int((max(event[1] for event in events) + 0.5) * RATE)
        samples = np.pad(samples[:end], (0, max(0, end - len(samples))))
        if not np.any(samples):
            raise ValueError(f"{target}: {font} has no sound for this piece")
        samples = spoil(samples, damage, np.random.default_rng(generator.getrandbits(32)), folder)
    soundfile.write(f"{target}.wav", samples, RATE, subtype="PCM_16")
    about = {"score": score["name"], "font": os.path.basename(font), "tier": tier, "cents": round(cents, 1), **damage}
    pathlib.Path(f"{target}.json").write_text(json.dumps({**about, **truth}))
    return target


def jobs(folder, halves, variants, every, seconds, fast, workers):
    tiers, faster = (TIERS[1::2], FASTER) if fast else (TIERS, 1.0)
    collected = scores.collect(folder, workers)
    for half in halves:
        own = sorted((score for score in collected if score["half"] == half), key=lambda score: score["name"])
        (folder / half).mkdir(parents=True, exist_ok=True)
        for variant, (place, score) in itertools.product(range(variants), list(enumerate(own))[::every]):
            font = FONTS[half][(place // len(tiers) + variant) % len(FONTS[half])]
            tier = tiers[(place + variant) % len(tiers)]
            target = folder / half / f"{place:03}-{variant}"
            if not target.with_suffix(".json").exists():
                yield score, variant, font, tier, str(target), seconds, faster


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--half", choices=scores.HALVES, help="only this half")
    parser.add_argument("--variants", type=int, default=1, help="performances of each score")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth score, where time is short")
    parser.add_argument("--seconds", type=float, default=30.0, help="mean length of a piece")
    parser.add_argument("--fast", action="store_true", help="1.5 times as fast, all with drums (give it a folder of its own)")
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    halves = [wanted.half] if wanted.half else scores.HALVES
    todo = list(jobs(wanted.folder, halves, wanted.variants, wanted.every, wanted.seconds, wanted.fast, wanted.workers))
    with ProcessPoolExecutor(wanted.workers) as pool:
        for done, target in enumerate(pool.map(render, todo), 1):
            print(f"{done} of {len(todo)}: {target}", flush=True)


if __name__ == "__main__":
    main()
