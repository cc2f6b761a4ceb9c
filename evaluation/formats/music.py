"""Pieces of music out of Debian's packages: which, where they are, and as PCM. `pieces.csv` lists them."""

import csv
import pathlib
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """A file of a package, or so many seconds of it."""

    package: str
    path: str
    start: str
    seconds: str

    @property
    def name(self):
        return "_".join(pathlib.PurePath(self.path).with_suffix("").parts[-2:]).replace(" ", "_")

    @property
    def is_whole(self):
        return not self.seconds


def pieces(part):
    with open(pathlib.Path(__file__).with_name("pieces.csv"), newline="") as rows:
        return [Piece(row["package"], row["path"], row["from"], row["seconds"]) for row in csv.DictReader(rows) if row["part"] == part]


def unpacked(piece, folder):
    """Where the file of a piece lies; its package is got and unpacked (not installed) if that was not done before."""
    target = folder / piece.path
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", piece.package], cwd=folder, check=True)
        for package in folder.glob(f"{piece.package}_*.deb"):
            subprocess.run(["dpkg", "-x", package.name, "."], cwd=folder, check=True)
            package.unlink()
    return target


def to_pcm(piece, source, target):
    """What is encoded: 16 bit, 44.1 kHz, stereo."""
    part = ["-ss", piece.start, "-t", piece.seconds] if piece.seconds else []
    ffmpeg(*part, "-i", source, "-map", "0:a:0", "-map_metadata", "-1", "-ac", "2", "-ar", "44100", "-c:a", "pcm_s16le", target)


def ffmpeg(*arguments, **options):
    """Runs ffmpeg, whose output is bytes."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout
