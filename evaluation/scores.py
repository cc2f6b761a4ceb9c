"""Scores of public-domain works out of music21's corpus, as plain notes.

A score is taken if its time signature never changes, its first eight full bars or more follow each other without a break,
and its key signature and the last note of its bass agree on a key, major or minor.
"""

import hashlib
import json
import pathlib
from concurrent.futures import ProcessPoolExecutor

SUFFIXES = (".mxl", ".xml", ".krn", ".abc")
# Bytes of a file: music21 takes a minute for a long movement.
LARGEST = 24_000

# Folder of the corpus, scores to take for each half, and whether they are one melody to be accompanied.
COLLECTIONS = [
    ("bach", 36, False),
    ("beethoven", 4, False),
    ("haydn", 5, False),
    ("mozart", 8, False),
    ("handel", 1, False),
    ("joplin", 1, False),
    ("schumann_robert", 3, False),
    ("schumann_clara", 2, False),
    ("chopin", 1, False),
    ("verdi", 1, False),
    ("leadSheet", 2, True),
    ("ryansMammoth", 54, True),
    ("oneills1850", 20, True),
]

# Quarter notes of a beat, by time signature; what is not here is left out.
BEATS = {"2/4": 1.0, "3/4": 1.0, "4/4": 1.0, "2/2": 2.0, "6/8": 1.5, "9/8": 1.5, "12/8": 1.5}

HALVES = ("tune", "report")
LONGEST = 160.0  # quarter notes kept of a score


def half_of(work):
    """Half of the data that a work belongs to: all of its movements and variants go together."""
    return HALVES[hashlib.sha256(work.encode()).digest()[0] % 2]


def work_of(path):
    """Folder of a work with several movements, else the file."""
    parts = path.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[-1].rsplit(".", 1)[0]


def key_of(score, bass_end):
    """Name of the key, or None if the score does not tell: "C major", "F# minor", "Bb major"."""
    from music21 import key

    signatures = list(score.parts[0].recurse().getElementsByClass(key.KeySignature))
    if not signatures or len({signature.sharps for signature in signatures}) > 1:
        return None
    for mode in ("major", "minor"):
        tonic = key.KeySignature(signatures[0].sharps).asKey(mode).tonic
        if tonic.pitchClass == bass_end % 12:
            return f"{tonic.name.replace('-', 'b')} {mode}"
    return None


def notes_of(part):
    """(start, length, MIDI number) of each sounding note, in quarter notes."""
    found = []
    for element in part.flatten().stripTies().notes:
        if element.duration.isGrace or not hasattr(element, "pitches"):
            continue
        if "ChordSymbol" in element.classes:
            continue
        for pitch in element.pitches:
            found.append([float(element.offset), float(element.quarterLength), int(pitch.midi)])
    return sorted(found)


def bars_of(score, bar):
    """First and end, in quarter notes, of the run of full bars that the score begins with, after its upbeat."""
    first = end = None
    for measure in score.parts[0].getElementsByClass("Measure"):
        offset, length = float(measure.offset), float(measure.duration.quarterLength)
        is_full = abs(length - bar) < 1e-6
        if first is None:
            if is_full:
                first, end = offset, offset + bar
            elif offset > bar:
                return None
            continue
        # A bar that a repeat cuts in two keeps the grid; anything else ends the run.
        place = (offset - first) % bar
        if is_full and min(place, bar - place) > 1e-6:
            break
        if offset - end > 1e-6:
            break
        end = max(end, offset + length)
    if first is None:
        return None
    return first, first + (end - first) // bar * bar


def extract(score, name, melody):
    """What is needed of a score, or None if it does not qualify."""
    if not score.parts:
        return None
    signatures = {found.ratioString for found in score.parts[0].recurse().getElementsByClass("TimeSignature")}
    if len(signatures) != 1:
        return None
    metre = signatures.pop()
    if metre not in BEATS:
        return None
    numerator, denominator = (int(number) for number in metre.split("/"))
    bar = 4.0 * numerator / denominator
    bars = bars_of(score, bar)
    if bars is None or bars[1] - bars[0] < 8 * bar:
        return None
    first, end = bars
    parts = [notes_of(part) for part in score.parts]
    parts = [part for part in parts if part]
    if not parts or (melody and len(parts) > 1):
        return None
    last = max(parts, key=lambda part: part[-1][0])[-1][0]
    bass_end = min(note[2] for part in parts for note in part if note[0] >= last - 1e-6)
    key = key_of(score, bass_end)
    if key is None:
        return None
    end = min(end, first + LONGEST // bar * bar)
    start = min(first, min(part[0][0] for part in parts))
    start = max(start, first - bar)
    cut = [[note for note in part if start - 1e-6 <= note[0] < end - 1e-6] for part in parts]
    return {
        "name": name,
        "metre": metre,
        "bar": bar,
        "beat": BEATS[metre],
        "key": key,
        "start": start,
        "first": first,
        "end": end,
        "melody": melody,
        "parts": [part for part in cut if part],
    }


def collect_from(collection, wanted, melody):
    """Scores of one folder of the corpus."""
    from music21 import corpus, stream

    root, found = pathlib.Path(corpus.__file__).parent, []
    files = [path for path in (root / collection).rglob("*") if path.suffix in SUFFIXES and path.stat().st_size < LARGEST]
    # In an order that has nothing to do with names, so that keys and metres are mixed.
    files.sort(key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
    missing = dict.fromkeys(HALVES, wanted)
    for path in files:
        relative = path.relative_to(root).as_posix()
        if not any(missing.values()):
            break
        is_book = collection == "oneills1850"
        if not is_book and missing[half_of(work_of(relative))] == 0:
            continue
        try:
            parsed = corpus.parse(relative)
            scores = list(parsed.scores) if isinstance(parsed, stream.Opus) else [parsed]
            for number, score in enumerate(scores):
                name = f"{relative}#{number}" if is_book else relative
                half = half_of(name if is_book else work_of(relative))
                extracted = extract(score, name, melody) if missing[half] else None
                if extracted:
                    missing[half] -= 1
                    found.append({"half": half, **extracted})
        except Exception as error:  # A file of the corpus that music21 cannot read is passed over, and named.
            print(f"{relative}: {type(error).__name__}: {error}", flush=True)
    print(collection, {half: wanted - missing[half] for half in HALVES}, flush=True)
    return found


def collect(folder, workers=1):
    """Scores of both halves; kept in `folder` once they were read, which takes minutes."""
    kept = pathlib.Path(folder) / "scores.json"
    if not kept.exists():
        with ProcessPoolExecutor(workers) as pool:
            found = sum(pool.map(collect_from, *zip(*COLLECTIONS)), [])
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found))
    return json.loads(kept.read_text())
