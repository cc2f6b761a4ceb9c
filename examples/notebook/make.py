"""Makes the notebook of its script, and runs the script cell by cell.

    python make.py notebook        writes a_day_of_sound.ipynb
    python make.py check           ends with an error if that would change it
    python make.py run FOLDER      runs the cells and writes each figure to FOLDER, named as the figure is

The script is the source: it is plain Python, with `# %%` between cells, which editors know, and in it a change is easy
to read.
"""

import json
import re
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("a_day_of_sound.py")
NOTEBOOK = SCRIPT.with_suffix(".ipynb")


def cells(text: str):
    """Kind and text of each cell: markdown without its comment signs, code as it is."""
    for part in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if head.strip() == "[markdown]":
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
            yield "markdown", "\n".join(lines)
        else:
            yield "code", body.strip()


def notebook() -> str:
    """The notebook in nbformat 4.5, without outputs: whose day it is, they would be of."""
    made = []
    for number, (kind, text) in enumerate(cells(SCRIPT.read_text())):
        cell = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}, "source": text.splitlines(keepends=True)}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    whole = {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def run(folder: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names: dict = {"__name__": "__main__"}
    for number, (kind, text) in enumerate(cells(SCRIPT.read_text())):
        if kind == "code":
            exec(compile(text, f"cell-{number:02}", "exec"), names)
    for label in plt.get_figlabels():
        # Without the date and the program's version, the same figure is the same file.
        plt.figure(label).savefig(folder / f"{label}.png", dpi=100, metadata={"Software": None})


def main() -> None:
    match sys.argv[1:]:
        case ["notebook"]:
            NOTEBOOK.write_text(notebook())
        case ["check"]:
            if NOTEBOOK.read_text() != notebook():
                sys.exit(f"{NOTEBOOK.name} is not what {SCRIPT.name} makes; run `python make.py notebook`")
        case ["run", folder]:
            run(Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
