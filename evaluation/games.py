"""Pieces of MIDI files with tempo maps, and of songs that were recorded or sampled to one: used by packages.py.

A function `make_...` writes a sound with its truth and tells whether it could; `variant` 0 is the piece as it stands, others are for tuning:
another half minute of it, up to 18 % slower or faster, by another sound font.
"""

import configparser
import json
import math
import pathlib
import random
import struct
import tempfile
import xml.etree.ElementTree

import mido
import numpy as np
import soundfile

import perform
import render

SECONDS = 30.0
# Hydrogen's ticks of a quarter note, and loops of 192 of them where a pattern does not tell its length.
HYDROGEN_TICKS, HYDROGEN_BAR = 48, 192
# Shares of a recorded song at which half a minute of it begins.
PLACES = [1 / 6, 1 / 2, 3 / 4]


def write(target, samples, rate, truth):
    """The sound, its largest value 0.9, and beside it the truth."""
    soundfile.write(target.with_suffix(".wav"), samples * 0.9 / np.max(np.abs(samples)), rate, subtype="PCM_16")
    target.with_suffix(".json").write_text(json.dumps(truth))


def factor_of(name, variant):
    """How many times as fast a variant is played."""
    generator = random.Random(f"{name} {variant}")
    return math.exp(generator.uniform(-math.log(1.18), math.log(1.18))) if variant else 1.0


def lumps(path):
    """(name, MIDI file as bytes) of the music of a Doom WAD file."""
    data = path.read_bytes()
    count, directory = struct.unpack_from("<ii", data, 4)
    for number in range(count):
        start, size, name = struct.unpack_from("<ii8s", data, directory + 16 * number)
        if data[start : start + 4] == b"MThd":
            yield name.rstrip(b"\0").decode("ascii").lower(), data[start : start + size]


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


def part(file, seconds, factor):
    """The first so many seconds of a file that is played so many times as fast, as one track."""
    now, tempo, track = 0.0, round(500_000 / factor), mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=tempo))
    for message in mido.merge_tracks(file.tracks):
        now += mido.tick2second(message.time, file.ticks_per_beat, tempo)
        if now > seconds:
            break
        if message.type == "set_tempo":
            tempo = round(message.tempo / factor)
            message = message.copy(tempo=tempo)
        track.append(message)
    found = mido.MidiFile(ticks_per_beat=file.ticks_per_beat)
    found.tracks.append(track)
    return found


def make_midi(target, file, name, tier, font, variant=0):
    """Half a minute of a MIDI file from its first note on; other variants later, where it is long enough."""
    found = times_of(file)
    if found is None:
        return False
    factor = factor_of(name, variant)
    notes, beats = (np.array(times) / factor for times in found)
    start = max(0.0, notes[0] - 0.1)
    later = start + SECONDS * variant
    # What is cut must be full of notes.
    start = later if notes[-1] > later + SECONDS * 0.8 else start
    inside = lambda times: [round(time - start, 4) for time in times if start <= time < start + SECONDS]
    notes, beats = inside(notes), inside(beats)
    if len(notes) < 30 or len(beats) < 8:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        played, sound = pathlib.Path(scratch) / "piece.mid", pathlib.Path(scratch) / "piece.wav"
        part(file, start + SECONDS, factor).save(played)
        render.run("fluidsynth", "-n", "-i", "-q", "-o", "synth.dynamic-sample-loading=1", "-r", render.RATE, "-g", "0.5", "-F", sound, font, played)
        samples, rate = soundfile.read(sound, start=int(start * render.RATE), frames=int(SECONDS * render.RATE), always_2d=True)
    samples = samples.mean(axis=1)
    if not np.any(samples):
        return False
    truth = {"score": name, "tier": tier, "tempo": 60 / float(np.median(np.diff(beats))), "beats": beats, "onsets": perform.merged(notes)}
    write(target, samples, rate, truth)
    return True


def make_song(target, folder, place):
    """Half a minute of a song of Frets on Fire: recordings of all players together, with the beats of the map that the player follows."""
    found = times_of(mido.MidiFile(folder / "notes.mid"))
    tracks = [folder / name for name in ("song.ogg", "guitar.ogg", "rhythm.ogg") if (folder / name).exists()]
    if found is None or not tracks:
        return False
    about = configparser.ConfigParser(strict=False, interpolation=None)
    about.read(folder / "song.ini", encoding="latin-1")
    late = float(about.get("song", "delay", fallback="0") or 0) / 1000
    start, total = PLACES[place] * soundfile.info(tracks[0]).duration, 0.0
    for track in tracks:
        rate = soundfile.info(track).samplerate
        samples = soundfile.read(track, start=int(start * rate), frames=int(SECONDS * rate), always_2d=True)[0].mean(axis=1)
        total = total + np.pad(samples, (0, int(SECONDS * rate) - len(samples)))
    beats = [round(beat + late - start, 4) for beat in found[1] if start <= beat + late < start + SECONDS]
    if len(beats) < 8 or not np.any(total):
        return False
    write(target, total, rate, {"score": folder.name, "tier": "songs", "tempo": 60 / float(np.median(np.diff(beats))), "beats": beats})
    return True


def make_pattern(target, path, drumkits):
    """Half a minute of a song of Hydrogen, whose patterns say when which sample of a drum kit sounds."""
    song = xml.etree.ElementTree.parse(path).getroot()
    for element in song.iter():
        # Newer files name a namespace.
        element.tag = element.tag.rsplit("}", 1)[-1]
    tempo = float(song.findtext("bpm"))
    kits = {element.findtext("id"): sample_of(element, drumkits) for element in song.iter("instrument") if element.find("id") is not None}
    patterns = {element.findtext("name"): element for element in song.find("patternList")}
    notes, at, end = [], 0, SECONDS * tempo / 60 * HYDROGEN_TICKS
    groups = [[name.text for name in group.iter("patternID")] for group in song.find("patternSequence")]
    while groups and at < end:
        for names in groups:
            playing = [patterns[name] for name in names if name in patterns]
            for pattern in playing:
                for note in pattern.iter("note"):
                    place = at + int(note.findtext("position"))
                    notes.append((place * 60 / tempo / HYDROGEN_TICKS, note.findtext("instrument"), float(note.findtext("velocity"))))
            at += max((int(pattern.findtext("size") or HYDROGEN_BAR) for pattern in playing), default=HYDROGEN_BAR)
    samples = np.zeros(int(SECONDS * render.RATE))
    notes = sorted(note for note in notes if note[0] < SECONDS and kits.get(note[1]) is not None)
    for second, instrument, velocity in notes:
        start = int(second * render.RATE)
        sound = kits[instrument][: len(samples) - start]
        samples[start : start + len(sound)] += velocity * sound
    if len(notes) < 50:
        return False
    beats = [round(beat, 4) for beat in np.arange(0, SECONDS, 60 / tempo)]
    truth = {"score": path.stem, "tier": "patterns", "tempo": tempo, "beats": beats, "onsets": perform.merged(note[0] for note in notes)}
    write(target, samples, render.RATE, truth)
    return True


def sample_of(instrument, drumkits):
    """The loudest layer of an instrument, mono at 44.1 kHz, or None if its file is not there."""
    names = [layer.findtext("filename") for layer in instrument.iter("layer")]
    if not names or instrument.findtext("isMuted") == "true":
        return None
    own = pathlib.Path(names[-1]).name
    kit = instrument.findtext("drumkit") or ""
    for path in sorted(drumkits.glob(f"*/{own}"), key=lambda path: path.parent.name != kit):
        samples, rate = soundfile.read(path, always_2d=True)
        return samples.mean(axis=1) * float(instrument.findtext("volume") or 1) if rate == render.RATE else None
    return None
