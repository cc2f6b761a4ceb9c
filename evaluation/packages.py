"""A second set, made of what Debian's packages hold: real loops, game music, songs. Half of it is for tuning; the same commands measure
the other.

    apt-get install sonic-pi-samples lmms-common openttd-openmsx planetblupi-music-midi opl3-soundfont freedoom freedm simutrans-data \\
        fretsonfire-songs-sectoid fretsonfire-songs-muldjord
    python packages.py /tmp/second --half report
    python packages.py /tmp/second --half tune --variants 4
    python measure.py /tmp/second/report --program ../target/release/examples/analyse
    python packages.py /tmp/second --half airs
    python key.py /tmp/second/airs --program ../target/release/examples/analyse

Which half a piece belongs to is not chosen: `half_of` says it by its name (of a Doom lump by its bytes), and what `FRESH` has is all for the
report. Each half has sound fonts of its own. `--root` names a folder in which packages were unpacked instead of installed.
"""

import argparse
import hashlib
import pathlib
import re
from concurrent.futures import ProcessPoolExecutor

import mido
import numpy as np
import soundfile

import games
import render
import scores
from games import SECONDS

# The report's imitates a chip (OPL3).
FONTS = {"report": ["/usr/share/sounds/sf2/OPL-3_FM_128M.sf2"], "tune": render.FONTS["tune"]}

# What is only for tuning need not have what Antiphon does not look at.
RATES = {"report": render.RATE, "tune": 22_050}

# Beats a minute. Sonic Pi's loops have exactly a whole number of beats (drone_g_97 tells its tempo in its name, and six others are as
# long or half as long); LMMS tells the tempo in the names of its loops from release 1.3 on.
SONIC_PI = pathlib.Path("usr/share/sonic-pi/samples")
LMMS = pathlib.Path("usr/share/lmms/samples")
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
# Folders of MIDI files, and Doom WAD files that hold them.
MIDI = {"openttd": "usr/share/games/openttd/baseset/openmsx", "planetblupi": "usr/share/planetblupi/music"}
WADS = [f"usr/share/games/doom/{name}.wad" for name in ("freedoom1", "freedoom2", "freedm")]
# Nothing of these was tuned on or looked at: they are for the report alone.
FRESH = {"simutrans": "usr/share/games/simutrans/music"}
SONGS = "usr/share/games/fretsonfire/data/songs"
BOOKS = ["airdsAirs/book1.abc", "miscFolk/americanfifeopus.abc"]
AIRS = 48


def half_of(name):
    """What belongs together has one name: of loops that of their family (`rave_kick` of rave_kick01 and rave_kick02)."""
    return scores.half_of(name)


def family_of(path):
    return re.sub(r"(_full)?_?[0-9]*$", "", path.stem)


def make_loop(target, path, tempo, variant=0):
    """Whether the loop has a whole number of beats of the stated tempo, to a tenth of a beat: what is over or missing is padding.
    Other variants are played faster or slower, like a record."""
    samples, rate = soundfile.read(path, always_2d=True)
    samples = samples.mean(axis=1)
    beats = len(samples) / rate * tempo / 60
    if round(beats) < 2 or abs(beats - round(beats)) > 0.1:
        return False
    factor = games.factor_of(path.stem, variant)
    length = round(round(beats) * 60 / tempo * rate)
    samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    repeated = np.tile(samples, int(np.ceil(SECONDS * factor * rate / length)))
    if variant:
        repeated = np.interp(np.arange(0, len(repeated) - 1, factor), np.arange(len(repeated)), repeated)
    truth = {"score": family_of(path), "tier": "loops", "tempo": tempo * factor}
    games.write(target, repeated, rate, truth)
    return True


def midi_files(root):
    """(source, name, what tells its half, bytes) of all MIDI files; of those that are there twice, the first."""
    seen = set()
    for source, folder in {**MIDI, **FRESH}.items():
        for path in sorted((root / folder).glob("*.mid")):
            yield source, path.stem, path.stem, path.read_bytes()
    for wad in WADS:
        for name, data in games.lumps(root / wad):
            digest = hashlib.sha256(data).hexdigest()
            if digest not in seen:
                seen.add(digest)
                yield "freedoom", f"{pathlib.Path(wad).stem}-{name}", digest, data


def jobs(root, folder, half, variants):
    """(function, arguments) for each piece."""
    for path, tempo in LOOPS.items():
        if half_of(family_of(path)) == half:
            for variant in range(variants):
                yield make_loop, (folder / f"loop-{path.stem}-{variant}", root / path, tempo, variant)
    fonts = FONTS[half]
    for place, (source, name, own, data) in enumerate(midi_files(root)):
        if ("report" if source in FRESH else half_of(own)) == half:
            for variant in range(variants):
                font = fonts[(place + variant) % len(fonts)]
                tier = "fresh MIDI" if source in FRESH else "game MIDI"
                yield games.make_midi, (folder / f"{source}-{name}-{variant}", data, name, tier, font, RATES[half], variant)
    if half == "report":
        for song in sorted(path.parent for path in (root / SONGS).rglob("notes.mid")):
            for place in range(len(games.PLACES)):
                yield games.make_song, (folder / f"song-{song.name}-{place}", song, place)


def make(job):
    """A piece, unless it is there; why not, if it cannot be."""
    function, arguments = job
    target = arguments[0]
    if target.with_suffix(".json").exists():
        return None
    try:
        return None if function(*arguments) else f"{target.name}: no beats that one can tell"
    except (ValueError, OSError, EOFError, KeyError, IndexError, mido.KeySignatureError) as error:
        return f"{target.name}: {type(error).__name__}: {error}"


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


def render_airs(folder, workers):
    """Dance tunes of two books in music21's corpus that `scores.py` does not read, with the key that the book states."""
    font = FONTS["report"][0]
    todo = [(score, 0, font, render.TIERS[place % len(render.TIERS)], str(folder / f"air-{place:03}"), SECONDS, 1.0)
            for place, score in enumerate(airs())]
    with ProcessPoolExecutor(workers) as pool:
        for target in pool.map(render.render, todo):
            print(target, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--half", choices=[*scores.HALVES, "airs"], default="report")
    parser.add_argument("--variants", type=int, default=1, help="of each piece, for tuning")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/"))
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    folder = wanted.folder / wanted.half
    folder.mkdir(parents=True, exist_ok=True)
    if wanted.half == "airs":
        return render_airs(folder, wanted.workers)
    with ProcessPoolExecutor(wanted.workers) as pool:
        for problem in pool.map(make, jobs(wanted.root, folder, wanted.half, wanted.variants)):
            if problem:
                print(problem, flush=True)


if __name__ == "__main__":
    main()
