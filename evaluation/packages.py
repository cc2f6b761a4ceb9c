"""A second set, made of what Debian's packages hold and nothing was tuned on: the same commands measure it.

    apt-get install sonic-pi-samples lmms-common openttd-openmsx planetblupi-music-midi opl3-soundfont
    python packages.py /tmp/second
    python measure.py /tmp/second --program ../target/debug/examples/analyse
    python key.py /tmp/second --program ../target/debug/examples/analyse

`loops` are recordings of a stated tempo, repeated without a gap for half a minute. `midi` are pieces of two games, half a minute from
their first note, with the beats of their tempo map. The others are dance tunes of two books in music21's corpus that `scores.py` does
not read, with the key that the book states. Notes sound by a fourth sound font, which imitates a chip (OPL3).
"""

import argparse
import json
import pathlib
import tempfile
from concurrent.futures import ProcessPoolExecutor

import mido
import numpy as np
import soundfile

import perform
import render
import scores

FONT = "/usr/share/sounds/sf2/OPL-3_FM_128M.sf2"
SECONDS = 30.0

# Beats a minute. Sonic Pi's loops have exactly a whole number of beats (drone_g_97 tells its tempo in its name, and six others are as
# long or half as long); LMMS tells the tempo in the names of its loops from release 1.3 on.
SONIC_PI = pathlib.Path("/usr/share/sonic-pi/samples")
LMMS = pathlib.Path("/usr/share/lmms/samples")
LOOPS = {
    SONIC_PI / "loop_electric.flac": 97,
    SONIC_PI / "loop_mehackit1.flac": 97,
    SONIC_PI / "loop_mehackit2.flac": 97,
    SONIC_PI / "loop_perc1.flac": 97,
    SONIC_PI / "loop_perc2.flac": 97,
    SONIC_PI / "loop_weirdo.flac": 97,
    SONIC_PI / "loop_garzul.flac": 120,
    SONIC_PI / "loop_mika.flac": 120,
    SONIC_PI / "loop_safari.flac": 120,
    SONIC_PI / "loop_breakbeat.flac": 126,
    SONIC_PI / "loop_amen.flac": 136.88,
    SONIC_PI / "loop_amen_full.flac": 140,
    LMMS / "beats/909beat01.ogg": 122,
    LMMS / "beats/break01.ogg": 168,
    LMMS / "beats/break02.ogg": 141,
    LMMS / "beats/break03.ogg": 168,
    LMMS / "beats/electro_beat01.ogg": 120,
    LMMS / "beats/electro_beat02.ogg": 119,
    LMMS / "beats/house_loop01.ogg": 142,
    LMMS / "beats/jungle01.ogg": 168,
    LMMS / "beats/rave_hihat01.ogg": 180,
    LMMS / "beats/rave_hihat02.ogg": 180,
    LMMS / "beats/rave_kick01.ogg": 180,
    LMMS / "beats/rave_kick02.ogg": 180,
    LMMS / "beats/rave_snare01.ogg": 180,
    LMMS / "bassloops/briff01.ogg": 140,
    LMMS / "bassloops/rave_bass01.ogg": 180,
    LMMS / "bassloops/rave_bass02.ogg": 180,
    LMMS / "bassloops/tb303_01.ogg": 123,
    LMMS / "bassloops/techno_bass01.ogg": 140,
    LMMS / "bassloops/techno_bass02.ogg": 140,
    LMMS / "bassloops/techno_synth01.ogg": 140,
    LMMS / "bassloops/techno_synth02.ogg": 140,
    LMMS / "bassloops/techno_synth03.ogg": 130,
    LMMS / "bassloops/techno_synth04.ogg": 140,
}
MIDI = [pathlib.Path("/usr/share/games/openttd/baseset/openmsx"), pathlib.Path("/usr/share/planetblupi/music")]
BOOKS = ["airdsAirs/book1.abc", "miscFolk/americanfifeopus.abc"]
AIRS = 48


def write(target, samples, rate, truth):
    soundfile.write(target.with_suffix(".wav"), samples, rate, subtype="PCM_16")
    target.with_suffix(".json").write_text(json.dumps(truth))


def make_loop(folder, path, tempo):
    """Whether the loop has a whole number of beats of the stated tempo, to a tenth of a beat: what is over or missing is padding."""
    samples, rate = soundfile.read(path, always_2d=True)
    samples = samples.mean(axis=1)
    beats = len(samples) / rate * tempo / 60
    if round(beats) < 2 or abs(beats - round(beats)) > 0.1:
        return False
    length = round(round(beats) * 60 / tempo * rate)
    samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    repeated = np.tile(samples, int(np.ceil(SECONDS * rate / length)))
    write(folder / f"loop-{path.stem}", repeated, rate, {"score": path.stem, "tier": "loops", "tempo": tempo})
    return True


def times_of(file):
    """Notes and beats in seconds, or None where nobody can tell the beats: the metre changes, or the notes do not keep to it."""
    tick, second, tempo, notes, tempi, metres = 0, 0.0, 500_000, [], [(0, 0.0, 500_000)], set()
    for message in mido.merge_tracks(file.tracks):
        tick += message.time
        second += mido.tick2second(message.time, file.ticks_per_beat, tempo)
        if message.type == "set_tempo":
            tempo = message.tempo
            tempi.append((tick, second, tempo))
        elif message.type == "time_signature":
            metres.add((message.numerator, message.denominator))
        elif message.type == "note_on" and message.velocity >= 20:
            notes.append((tick, second))
    numerator, denominator = metres.pop() if metres else (4, 4)
    if metres or len(notes) < 50:
        return None
    quarters = 4 / denominator * (3 if denominator == 8 and numerator % 3 == 0 else 1)
    beat = quarters * file.ticks_per_beat
    places = np.array([note[0] for note in notes]) / beat % 1
    grid = np.array([0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1])
    kept = np.mean(np.min(np.abs(places[:, None] - grid), axis=1) < 0.03)
    if kept < 0.8:
        return None
    beats = []
    for at in np.arange(0, notes[-1][0], beat):
        from_tick, from_second, of = next(row for row in reversed(tempi) if row[0] <= at)
        beats.append(from_second + mido.tick2second(at - from_tick, file.ticks_per_beat, of))
    return [note[1] for note in notes], beats


def begin(file, seconds):
    """The first so many seconds of a file."""
    now, tempo, track = 0.0, 500_000, mido.MidiTrack()
    for message in mido.merge_tracks(file.tracks):
        now += mido.tick2second(message.time, file.ticks_per_beat, tempo)
        if now > seconds:
            break
        tempo = message.tempo if message.type == "set_tempo" else tempo
        track.append(message)
    found = mido.MidiFile(ticks_per_beat=file.ticks_per_beat)
    found.tracks.append(track)
    return found


def make_midi(folder, path):
    """Whether the file has beats."""
    found = times_of(mido.MidiFile(path))
    if found is None:
        return False
    notes, beats = found
    start = max(0.0, notes[0] - 0.1)
    inside = lambda times: [round(time - start, 4) for time in times if start <= time < start + SECONDS]
    notes, beats = inside(notes), inside(beats)
    with tempfile.TemporaryDirectory() as scratch:
        played, sound = pathlib.Path(scratch) / "piece.mid", pathlib.Path(scratch) / "piece.wav"
        begin(mido.MidiFile(path), start + SECONDS).save(played)
        render.run("fluidsynth", "-n", "-i", "-q", "-o", "synth.dynamic-sample-loading=1", "-r", render.RATE, "-g", "0.5", "-F", sound, FONT, played)
        samples, rate = soundfile.read(sound, start=int(start * render.RATE), frames=int(SECONDS * render.RATE), always_2d=True)
    samples = samples.mean(axis=1) * 0.9 / np.max(np.abs(samples))
    truth = {"score": path.stem, "tier": "midi", "tempo": 60 / float(np.median(np.diff(beats))), "beats": beats, "onsets": perform.merged(notes)}
    write(folder / f"midi-{path.stem}", samples, rate, truth)
    return True


def airs():
    """Tunes of which key signature, last note and the key that the book states agree."""
    from music21 import corpus, key

    found = []
    for book in BOOKS:
        for number, score in enumerate(corpus.parse(book).scores):
            extracted = scores.extract(score, f"{book}#{number}", True)
            stated = score.parts[0].recurse().getElementsByClass(key.Key).first() if extracted else None
            if stated and f"{stated.tonic.name.replace('-', 'b')} {stated.mode}" == extracted["key"]:
                found.append(extracted)
            if len(found) * len(BOOKS) >= AIRS * (1 + BOOKS.index(book)):
                break
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    for path, tempo in LOOPS.items():
        if not make_loop(wanted.folder, path, tempo):
            print(f"{path}: not a whole number of beats", flush=True)
    for path in sorted(path for folder in MIDI for path in folder.glob("*.mid")):
        if not make_midi(wanted.folder, path):
            print(f"{path}: no beats that one can tell", flush=True)
    jobs = [(score, 0, FONT, render.TIERS[place % len(render.TIERS)], str(wanted.folder / f"air-{place:03}"), SECONDS, 1.0)
            for place, score in enumerate(airs())]
    with ProcessPoolExecutor(wanted.workers) as pool:
        for target in pool.map(render.render, jobs):
            print(target, flush=True)


if __name__ == "__main__":
    main()
