"""Real music in every format through the whole analysis, against ffmpeg and against the PCM that it was made of.

    cargo build --release -p antiphon-audio --example decode && cargo build --release -p antiphon-features --example seconds
    python formats/run.py FOLDER --programs ../target/release/examples

Of each piece: lengths, samples beside those that ffmpeg decodes, and what the analysis says of each second beside what it says of
the PCM. What loses nothing must say the same to the letter; what loses something must stay inside `bounds.csv`. Exits with 1 if
a line fails. What was found of a piece is kept in FOLDER, and a run that was stopped goes on where it was; `--again` forgets it.
`--part bounds --write` makes the table of bounds, out of other pieces. See ../README.md.
"""

import argparse
import csv
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

import deviation
import music
from codings import ENCODINGS, NATIVE, Encoding, File
from music import ffmpeg

BOUNDS = pathlib.Path(__file__).with_name("bounds.csv")
# A bound is so many times the worst that was seen of other pieces, and the measure's resolution: of what there is a value each second, and
# of what there is one of a song, where a few songs are all that the worst is known of.
MARGIN, SONG_MARGIN = 3.0, 4.0
# A coding is not held closer than these, which lose less: that one of them did worse on some piece was luck.
LESS_LOSSY = {
    "mp3 128": ["mp3 V2", "mp3 320"],
    "mp3 V2": ["mp3 320"],
    "vorbis q3": ["vorbis q6"],
    "opus 64": ["opus 128"],
    "aac 128": ["aac 256"],
    "aac 128 delayed": ["aac 128", "aac 256"],
}
# What `--quick` computes of lossless formats: all but the five that take three quarters of the time.
QUICK = "chroma,fingerprint,indices,key,level,loudness,mel,mfcc,onset,rhythm,silence,spectral,waveform"


def decoded(path, programs):
    """Our samples, a row for each frame."""
    # A file takes a hundred megabytes faster than a pipe does.
    with tempfile.TemporaryFile() as raw:
        run = subprocess.run([programs / "decode", path], check=True, stdout=raw, stderr=subprocess.PIPE)
        raw.seek(0)
        channels = int(run.stderr.split(b",")[-1].split()[0])
        return np.fromfile(raw, dtype="<f4").reshape(-1, channels)


def by_ffmpeg(path, decoder, channels):
    """What ffmpeg decodes it to."""
    floats = ["-request_sample_fmt", "flt"] if decoder == "libopus" else []
    with tempfile.NamedTemporaryFile() as raw:
        ffmpeg("-c:a", decoder, *floats, "-i", path, "-map", "0:a:0", "-f", "f32le", raw.name)
        return np.fromfile(raw, dtype="<f4").reshape(-1, channels)


def analysed(path, programs, *algorithms):
    """What the analysis says of a file, as text: equal text is equal in all."""
    return subprocess.run([programs / "seconds", path, *algorithms], check=True, capture_output=True, text=True).stdout


def difference(ours, theirs):
    """Signal to difference in dB, and the largest difference, over what both have."""
    length = min(len(ours), len(theirs))
    far = ours[:length] - theirs[:length]
    signal, noise = (float(np.vdot(one, one)) for one in (theirs[:length], far))
    worst = float(max(far.max(initial=0.0), -far.min(initial=0.0)))
    return 10 * math.log10(max(signal, 1e-30) / max(noise, 1e-30)), worst


def is_as_long(length, expected, file, packet):
    surplus = length - expected
    if file.length in ("packet", "tag"):
        return 0 <= surplus < packet
    if file.length == "delayed":
        return packet <= surplus < 2 * packet
    return surplus == 0


def encode(encoding, pcm, folder):
    """Encodes once into all containers of an encoding, and returns their paths."""
    paths = [folder / f"{number}.{file.extension}" for number, file in enumerate(encoding.files)]
    targets = "|".join(f"[{file.muxer}]{path.name}" for file, path in zip(encoding.files, paths))
    ffmpeg("-i", pcm, "-map", "0:a", "-c:a", *encoding.encoder.split(), "-f", "tee", targets, cwd=folder)
    return paths


def examine(piece, source, folder, programs, lossless):
    """All that is found of a piece in all formats: a list of dictionaries, one for each file. `lossless` names the algorithms for
    lossless formats; empty: all; none: they are left out."""
    pcm = folder / "source.wav"
    music.to_pcm(piece, source, pcm)
    samples = decoded(pcm, programs)
    reference = json.loads(analysed(pcm, programs))
    text = analysed(pcm, programs, *lossless) if lossless is not None else ""
    # Opus has a rate of its own, so that its length is that of what ffmpeg resamples to that rate.
    length_at = {44_100: len(samples), 48_000: len(ffmpeg("-i", pcm, "-ar", "48000", "-f", "s16le", "-")) // 4}
    found = []
    if piece.is_whole:
        found += native(source, folder, programs)
    for encoding in ENCODINGS:
        if encoding.coding is None and lossless is None:
            continue
        heard = []
        for file, path in zip(encoding.files, encode(encoding, pcm, folder)):
            ours = decoded(path, programs)
            expected = length_at[encoding.rate]
            line = {
                "name": file.name,
                "coding": f"{encoding.coding} delayed" if file.is_delayed else encoding.coding,
                "seconds": len(samples) / 44_100,
                "surplus": len(ours) - expected,
                "is_as_long": is_as_long(len(ours), expected, file, encoding.packet),
            }
            if encoding.coding is None:
                line["is_equal"] = bool(np.array_equal(ours, samples)) and analysed(path, programs, *lossless) == text
            elif any(np.array_equal(ours[: len(other)], other) for other in heard):
                # The same samples out of another container, and of WebM the rest of the last packet: nothing new can be said of them.
                line["is_equal"] = True
            else:
                theirs = by_ffmpeg(path, encoding.decoder, 2)
                line |= lossy(path, ours, theirs, encoding, reference, programs)
                line["is_as_long"] &= file.length != "tag" or len(ours) == len(theirs)
                heard.append(ours)
            found.append(line)
            path.unlink()
    return found


def lossy(path, ours, theirs, encoding, reference, programs):
    ratio, worst = difference(ours, theirs)
    return {
        "ratio": ratio,
        "worst": worst,
        "is_near": ratio >= encoding.least_ratio and worst <= encoding.largest,
        "deviations": deviation.deviations(json.loads(analysed(path, programs)), reference),
    }


def native(source, folder, programs):
    """The file of the package as it is. What is said of it is compared with what is said of ffmpeg's samples, as floats at the file's
    own rate: what goes beyond full scale is in both."""
    decoder = NATIVE[source.suffix]
    ours = decoded(source, programs)
    theirs = by_ffmpeg(source, decoder, ours.shape[1])
    expected = len(theirs)
    if source.suffix in (".ogg", ".opus"):
        expected = last_position(source)
        # What lies before the piece by the position of the first page, `oggdec` leaves out and ffmpeg does not.
        theirs = theirs[max(0, len(theirs) - expected) :]
    found = json.loads(analysed(source, programs))
    rate = found["rate"]
    template = Encoding(f"native {rate}", "", (File(f"native {source.suffix[1:]}", "", ""),), decoder)
    ratio, worst = difference(ours, theirs)
    line = {
        "name": template.files[0].name,
        "coding": f"native {rate}",
        "seconds": len(ours) / rate,
        "surplus": len(ours) - expected,
        "is_as_long": len(ours) == expected,
        "ratio": ratio,
        "worst": worst,
        "is_near": ratio >= template.least_ratio and worst <= template.largest,
    }
    if ours.shape[1] == 2 and rate >= 44_100:
        pcm = folder / "native.wav"
        write_floats(theirs, rate, pcm)
        line["deviations"] = deviation.deviations(found, json.loads(analysed(pcm, programs)))
    return [line]


def write_floats(samples, rate, target):
    with tempfile.NamedTemporaryFile() as raw:
        samples.tofile(raw.name)
        ffmpeg("-f", "f32le", "-ar", rate, "-ac", samples.shape[1], "-i", raw.name, "-c:a", "pcm_f32le", target)


def last_position(path):
    """How many samples an Ogg file says it has: the position of its last page, less what Opus skips at its start."""
    data = path.read_bytes()
    page = data.rfind(b"OggS")
    head = data.find(b"OpusHead", 0, 100)
    skipped = int.from_bytes(data[head + 10 : head + 12], "little") if head >= 0 else 0
    return int.from_bytes(data[page + 6 : page + 14], "little") - skipped


def all_found(part, folder, programs, minutes, again, lossless):
    """What was found of each piece, as much of it as is asked for, out of the files that keep it if there are any."""
    heard = 0.0
    for piece in music.pieces(part):
        kept = folder / part / f"{piece.name}.json"
        if again or not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            start = time.monotonic()
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                found = examine(piece, music.unpacked(piece, folder / "packages"), pathlib.Path(scratch), programs, lossless)
            kept.write_text(json.dumps(found))
            print(f"{piece.name}: {found[-1]['seconds']:.0f} s of music in {time.monotonic() - start:.0f} s", file=sys.stderr)
        lines = json.loads(kept.read_text())
        yield lines
        heard += lines[-1]["seconds"]
        if minutes and heard >= 60 * minutes:
            return


def pooled(pieces):
    """For each coding and output, its unit and the deviations of each piece."""
    deviations = {}
    for lines in pieces:
        for line in lines:
            for output, each in line.get("deviations", {}).items():
                if each["values"]:
                    unit, values = deviations.setdefault((line["coding"], output), (each["unit"], []))
                    values.append(each["values"])
    return deviations


def write_bounds(deviations):
    with open(BOUNDS, "w", newline="") as target:
        rows = csv.writer(target, lineterminator="\n")
        rows.writerow(["coding", "output", "unit", "statistic", "bound"])
        for (coding, output), (unit, _) in deviations.items():
            kind = deviation.measure(output, unit)
            worst = max(
                worst_of(*deviations[each, output], output) for each in [coding, *LESS_LOSSY.get(coding, [])] if (each, output) in deviations
            )
            margin = SONG_MARGIN if deviation.is_of_song(output) else MARGIN
            rows.writerow([coding, output, kind.unit, kind.statistic, f"{margin * worst + kind.resolution:.3g}"])


def worst_of(unit, pieces, output):
    """The figure of the worst piece; of a mean of what there is one of a song, of all."""
    kind = deviation.measure(output, unit)
    if kind.statistic == "mean" and deviation.is_of_song(output):
        return deviation.summed_up(sum(pieces, []), kind)
    return max(deviation.summed_up(values, kind) for values in pieces)


def report_formats(pieces):
    """The table of files. Returns whether all is as it must be."""
    lines = {}
    for line in (line for piece in pieces for line in piece):
        lines.setdefault(line["name"], []).append(line)
    good = True
    print("| format | files | minutes | surplus samples | lengths right | samples | analysis |")
    print("|---|---|---|---|---|---|---|")
    for name, each in lines.items():
        surplus = sorted({line["surplus"] for line in each})
        right = [line["is_as_long"] for line in each]
        (samples, analysis), inside = lossless_cells(each) if each[0]["coding"] is None else lossy_cells(each)
        good &= all(right) and inside
        span = f"{surplus[0]}" if len(surplus) == 1 else f"{surplus[0]} to {surplus[-1]}"
        minutes = sum(line["seconds"] for line in each) / 60
        print(f"| {name} | {len(each)} | {minutes:.1f} | {span} | {sum(right)} | {samples} | {analysis} |")
    return good


def lossless_cells(each):
    equal = [line["is_equal"] for line in each]
    same = f"the same, {sum(equal)} files"
    return (same, same), all(equal)


def lossy_cells(each):
    measured = [line for line in each if "ratio" in line]
    same = f"those of the format above, {len(each) - len(measured)} files"
    if not measured:
        return (same, "the same"), True
    near = all(line["is_near"] for line in measured)
    samples = f"{min(line['ratio'] for line in measured):.1f} dB, {max(line['worst'] for line in measured):.1e}"
    samples += ("" if near else " MISSED") + ("" if len(measured) == len(each) else f"; {same}")
    return (samples, "by the bounds" if any("deviations" in line for line in measured) else ""), near


def report_bounds(deviations):
    """The table of outputs: what was found, then the bound. Returns whether all are inside."""
    with open(BOUNDS, newline="") as source:
        bounds = {(row["coding"], row["output"]): float(row["bound"]) for row in csv.DictReader(source)}
    codings = list(dict.fromkeys(coding for coding, _ in deviations))
    outputs = dict.fromkeys(output for _, output in deviations)
    missed, held, unbounded = [], 0, []
    print("\n| output | unit | " + " | ".join(codings) + " |")
    print("|---|---|" + "---|" * len(codings))
    for output in outputs:
        cells, kind = [], None
        for coding in codings:
            if (coding, output) not in deviations:
                cells.append("")
                continue
            unit, pieces = deviations[coding, output]
            kind = deviation.measure(output, unit)
            found, bound = deviation.summed_up(sum(pieces, []), kind), bounds.get((coding, output), math.inf)
            inside = found <= bound
            held += inside
            if not inside:
                missed.append(f"{coding}, {output}: {found:.3g}, bound {bound:.3g}")
            elif math.isinf(bound):
                unbounded.append(f"{coding}, {output}")
            cells.append(f"{found:.2g} ({bound:.2g})" + ("" if inside else " MISSED"))
        print(f"| `{output}` | {kind.unit} | " + " | ".join(cells) + " |")
    print(f"\n{held} of {held + len(missed)} inside their bounds, {len(unbounded)} of them without a bound.")
    for title, lines in (("Missed", missed), ("Without a bound", unbounded)):
        if lines:
            print(f"\n{title}:\n\n" + "\n".join(f"- {line}" for line in lines))
    return not missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="for packages and what is found; nothing of it belongs into the repository")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="where the examples `decode` and `seconds` are")
    parser.add_argument("--part", choices=["hour", "bounds"], default="hour")
    parser.add_argument("--minutes", type=float, help="stop after the piece with which so much music was heard")
    parser.add_argument("--again", action="store_true", help="forget what was found before")
    parser.add_argument("--quick", action="store_true", help="without the five slowest algorithms in lossless formats")
    parser.add_argument("--write", action="store_true", help="with --part bounds: write the table of bounds; what loses nothing is left out")
    wanted = parser.parse_args()
    if wanted.write and wanted.part != "bounds":
        parser.error("bounds come of the part `bounds`, before the hour is heard")
    folder, programs = wanted.folder.resolve(), wanted.programs.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lossless = [QUICK] if wanted.quick else []
    if wanted.write:
        lossless = None
    pieces = list(all_found(wanted.part, folder, programs, wanted.minutes, wanted.again, lossless))
    deviations = pooled(pieces)
    if wanted.write:
        write_bounds(deviations)
    good = report_formats(pieces)
    good &= report_bounds(deviations)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
