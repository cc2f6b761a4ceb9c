"""How fast Antiphon is beside librosa, Essentia, aubio and ffmpeg: all with one thread on one core, on one file, in turns.

    cargo build --release -p antiphon-features --example speed
    python speed.py /tmp/music.flac --program ../target/release/examples/speed

The file is made of Debian's wesnoth music if it is not there. What is compared is the time of the processor, the median of so many rounds, in
which every row runs once: what disturbs the machine for a while disturbs all alike. Starting up is counted for programs (all are
native, it takes them milliseconds) and not for Python, where importing takes seconds; what is compiled at the first call was called before.
See README.md.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

# Before numpy is imported, by this process or by one that it starts.
for library in ["OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"]:
    os.environ[f"{library}_NUM_THREADS"] = "1"

MUSIC = "/usr/share/games/wesnoth"
BASE = "decoding and one STFT"


def commands(program, path):
    """Tool, what it does, and the command that does it."""
    peer = lambda name: [sys.executable, __file__, str(path), "--peer", name]
    ours = lambda row: [program, row, str(path)]
    return [
        ("Antiphon", "decoding", ours("decoding")),
        ("ffmpeg", "decoding", ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", str(path), "-f", "null", "-"]),
        ("Antiphon", BASE, ours("base")),
        ("librosa", BASE, peer("librosa_base")),
        ("Antiphon", "spectral, MFCC and chroma", ours("spectral, mfcc and chroma")),
        ("librosa", "the same, less flux, crest and entropy", peer("librosa_spectra")),
        ("Antiphon", "spectral, MFCC, chroma and R 128 without true peak", ours("spectral, mfcc, chroma and R 128 without true peak")),
        ("Antiphon", "MFCC", ours("mfcc")),
        ("aubio", "MFCC", ["aubiomfcc", "-i", str(path)]),
        ("Antiphon", "onsets", ours("onset")),
        ("aubio", "onsets", ["aubioonset", "-i", str(path)]),
        ("librosa", "onsets", peer("librosa_onsets")),
        ("Antiphon", "tempo and beats", ours("rhythm")),
        ("aubio", "tempo and beats", ["aubiotrack", "-i", str(path)]),
        ("librosa", "tempo and beats", peer("librosa_beats")),
        ("Essentia", "tempo and beats (RhythmExtractor2013, multifeature)", peer("essentia_beats")),
        ("Antiphon", "pitch (YIN)", ours("pitch.yin")),
        ("aubio", "pitch (YIN by FFT)", ["aubiopitch", "-p", "yinfft", "-i", str(path)]),
        ("Antiphon", "all without pYIN, HPSS and constant-Q", ours("all without pYIN, HPSS and constant-Q")),
        ("Antiphon", "all", ours("all")),
        ("Essentia", "MusicExtractor", peer("essentia_all")),
    ]


def librosa_base(path):
    import librosa
    import numpy as np

    def work(samples=None):
        y = librosa.load(path, sr=None)[0] if samples is None else samples
        return np.abs(librosa.stft(y)) ** 2

    work(np.zeros(44_100, np.float32))
    return work


def librosa_spectra(path):
    import librosa
    import numpy as np

    def work(samples=None):
        y = librosa.load(path, sr=22_050)[0] if samples is None else samples
        magnitudes = np.abs(librosa.stft(y))
        power = magnitudes**2
        feature, shared = librosa.feature, {"S": magnitudes, "sr": 22_050}
        bands = librosa.power_to_db(feature.melspectrogram(S=power, sr=22_050), top_db=None)
        chroma = feature.chroma_stft(S=power, sr=22_050, tuning=0.0)
        return [
            feature.spectral_centroid(**shared),
            feature.spectral_bandwidth(**shared),
            feature.spectral_rolloff(**shared),
            feature.spectral_flatness(S=magnitudes),
            feature.spectral_contrast(**shared),
            feature.mfcc(S=bands, n_mfcc=20),
            chroma,
            feature.tonnetz(chroma=chroma),
            librosa.estimate_tuning(**{**shared, "S": magnitudes}),
        ]

    work(np.random.default_rng(1).normal(0, 0.1, 44_100).astype(np.float32))
    return work


def librosa_of(path, call):
    import librosa
    import numpy as np

    def work(samples=None):
        y = librosa.load(path, sr=22_050)[0] if samples is None else samples
        return call(librosa, y)

    work(np.random.default_rng(1).normal(0, 0.1, 44_100).astype(np.float32))
    return work


def librosa_onsets(path):
    return librosa_of(path, lambda librosa, y: librosa.onset.onset_detect(y=y, sr=22_050))


def librosa_beats(path):
    return librosa_of(path, lambda librosa, y: librosa.beat.beat_track(y=y, sr=22_050))


def essentia_beats(path):
    import essentia
    from essentia.standard import MonoLoader, RhythmExtractor2013

    essentia.log.infoActive = False
    return lambda: RhythmExtractor2013(method="multifeature")(MonoLoader(filename=path, sampleRate=44_100)())


def essentia_all(path):
    import essentia
    from essentia.standard import MusicExtractor

    essentia.log.infoActive = False
    return lambda: MusicExtractor()(path)


PEERS = [librosa_base, librosa_spectra, librosa_onsets, librosa_beats, essentia_beats, essentia_all]


def make(path, folder, seconds):
    """Pieces one after the other, 44.1 kHz, stereo, 16 bit, until it is as long as that."""
    pieces = sorted(pathlib.Path(folder).rglob("music/*.ogg"))
    if not pieces:
        raise SystemExit(f"no music in {folder}: apt-get install wesnoth-1.16-music, or name another folder by --music")
    raw = b""
    for piece in pieces:
        convert = ["ffmpeg", "-v", "error", "-i", str(piece), "-ar", "44100", "-ac", "2", "-f", "s16le", "-"]
        raw += subprocess.run(convert, check=True, capture_output=True).stdout
        if len(raw) >= 4 * 44_100 * seconds:
            break
    encode = ["ffmpeg", "-v", "error", "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "-", str(path)]
    subprocess.run(encode, check=True, input=raw[: 4 * 44_100 * seconds])


def timed(command):
    """Processor and wall time in seconds: those that a peer in Python prints, else those of the process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{command}: {said.read().decode()}")
        if "--peer" in command:
            out.seek(0)
            return json.loads(out.read().splitlines()[-1])
        return [usage.ru_utime + usage.ru_stime, wall]


def run_peer(name, path):
    work = next(peer for peer in PEERS if peer.__name__ == name)(path)
    start, wall = time.process_time(), time.perf_counter()
    work()
    print(json.dumps([time.process_time() - start, time.perf_counter() - wall]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, help="44.1 kHz stereo FLAC; made if it is not there")
    parser.add_argument("--program", help="the example `speed` of crates/features")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tools", default="Antiphon,ffmpeg,aubio,librosa,Essentia", help="which, divided by commas")
    parser.add_argument("--core", type=int, default=os.cpu_count() - 1, help="the core that all run on")
    parser.add_argument("--music", default=MUSIC, help="folder with music to make the file of")
    parser.add_argument("--seconds", type=int, default=720, help="how long the file is made")
    parser.add_argument("--peer", choices=[peer.__name__ for peer in PEERS], help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.peer:
        return run_peer(wanted.peer, str(wanted.file))
    if not wanted.program:
        parser.error("--program is needed")
    if not wanted.file.exists():
        make(wanted.file, wanted.music, wanted.seconds)
    os.sched_setaffinity(0, {wanted.core})
    print(f"load before: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    seconds = float(subprocess.run([wanted.program, "decoding", wanted.file], check=True, capture_output=True).stdout)
    tools = wanted.tools.split(",")
    rows = [row for row in commands(wanted.program, wanted.file) if row[0] in tools]
    times = [[] for _ in rows]
    for _ in range(wanted.rounds):
        for (_, _, command), found in zip(rows, times):
            found.append(timed(command))
    print(f"load after: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    medians = [[statistics.median(column) for column in zip(*found)] for found in times]
    base = next(median[0] for (tool, what, _), median in zip(rows, medians) if (tool, what) == ("Antiphon", BASE))
    print(f"{seconds / 60:.1f} minutes of music, {wanted.rounds} rounds\n")
    print("| what | tool | s of CPU | times real time | times Antiphon's base | wall / CPU |\n|---|---|---|---|---|---|")
    for (tool, what, _), (cpu, wall) in zip(rows, medians):
        print(f"| {what} | {tool} | {cpu:.2f} | {seconds / cpu:,.0f} | {cpu / base:.2f} | {wall / cpu:.2f} |")


if __name__ == "__main__":
    main()
