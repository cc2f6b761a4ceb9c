"""Pieces of MIDI files with tempo maps, and of recorded songs that have one: used by packages.py.

A function `make_...` writes a sound with its truth and tells whether it could; `variant` 0 is the piece as it stands, others are for tuning:
another half minute of it, up to 18 % slower or faster, by another sound font.
"""

import configparser
import io
import json
import math
import pathlib
import random
import struct
import tempfile

import mido
import numpy as np
import soundfile

import perform
import render

SECONDS = 30.0
# Shares of a recorded song at which half a minute of it begins.
PLACES = [1 / 6, 1 / 2, 3 / 4]


def write(target, samples, rate, truth):
    """The sound, and beside it the truth."""
    soundfile.write(target.with_suffix(".wav"), samples, rate, subtype="PCM_16")
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
        if message.type != "end_of_track":
            track.append(message)
    # What still sounds would do so for ever.
    track.extend(mido.Message("control_change", channel=channel, control=120) for channel in range(16))
    found = mido.MidiFile(ticks_per_beat=file.ticks_per_beat)
    found.tracks.append(track)
    return found


def make_midi(target, data, name, tier, font, rate, variant=0):
    """Half a minute of a MIDI file from its first note on; other variants later, where it is long enough."""
    file = mido.MidiFile(file=io.BytesIO(data), clip=True)
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
        render.run("fluidsynth", "-n", "-i", "-q", "-o", "synth.dynamic-sample-loading=1", "-r", rate, "-g", "0.5", "-F", sound, font, played)
        samples = soundfile.read(sound, start=int(start * rate), frames=int(SECONDS * rate), always_2d=True)[0]
    samples = samples.mean(axis=1)
    if not np.any(samples):
        return False
    truth = {"score": name, "tier": tier, "tempo": 60 / float(np.median(np.diff(beats))), "beats": beats, "onsets": perform.merged(notes)}
    write(target, samples * 0.9 / np.max(np.abs(samples)), rate, truth)
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
    write(target, total * 0.9 / np.max(np.abs(total)), rate, {"score": folder.name, "tier": "songs", "tempo": 60 / float(np.median(np.diff(beats))), "beats": beats})
    return True
