"""Makes the golden values, or compares them with what the packages say now.

    python3 -m venv VENV && VENV/bin/pip install -r requirements.txt
    VENV/bin/python make.py                    # writes every file of golden/
    VENV/bin/python make.py mel pitch          # only those of make_mel.py and make_pitch.py
    VENV/bin/python make.py --check            # compares every value, writes nothing
    VENV/bin/python make.py --check --sample   # the same for a few signals of each file: a test does so
"""

import argparse
import importlib
import pathlib
import sys
import warnings

import golden
import signals

# Every ninth signal is in the sample of a file. Each file begins with another, so that all signals are in one.
STRIDE = 9


def sample(position, count):
    """Which of `count` signals are in the sample of the file at this position."""
    stride = min(STRIDE, count)
    return range(position % stride, count, stride)


def main():
    parser = argparse.ArgumentParser(description="Makes the golden values, or checks them.")
    parser.add_argument("names", nargs="*", help="of scripts: NAME of make_NAME.py; default all")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--sample", action="store_true", help="with --check: only a few signals of each file")
    parser.add_argument("--folder", type=pathlib.Path, default=signals.HERE / "golden", help="where the files are")
    arguments = parser.parse_args()
    if arguments.sample and not arguments.check:
        parser.error("--sample is for --check: a file holds all signals")
    scripts = sorted(path.stem.removeprefix("make_") for path in signals.HERE.glob("make_*.py"))
    if unknown := set(arguments.names) - set(scripts):
        parser.error(f"no script for {', '.join(sorted(unknown))}; there are {', '.join(scripts)}")
    # Librosa warns of signals that are shorter than its window; some are meant to be.
    warnings.simplefilter("ignore", UserWarning)
    chosen_scripts = [script for script in scripts if not arguments.names or script in arguments.names]
    wrong, made = [], set()
    for script in chosen_scripts:
        files = importlib.import_module(f"make_{script}").FILES
        made.update(files)
        for position, (name, what) in enumerate(files.items(), scripts.index(script)):
            wrong += make(arguments, position, arguments.folder / f"{name}.f32", what)
    if not arguments.names:
        orphans = {path.stem for path in arguments.folder.glob("*.f32")} - made
        wrong += [f"{name}.f32: no script makes it" for name in sorted(orphans)]
    if wrong:
        sys.exit("\n".join(wrong))


def make(arguments, position, path, what):
    """Writes or checks one file; returns what is wrong with it."""
    if not arguments.check:
        golden.write(path, what)
        return []
    count = len(what.of)
    chosen = sample(position, count) if arguments.sample else range(count)
    largest, wrong = golden.check(path, what, chosen)
    print(f"{path.stem}: {len(chosen)} of {count} signals, largest difference {largest:.1e}", flush=True)
    return wrong


if __name__ == "__main__":
    main()
