"""Make the pictures of the README in docs/pictures: a training run in a terminal, a comparison of cells, a
look inside, and a page (with Chromium). Run: python docs/make_pictures.py TEXT [--steps N] [--reviews FOLDER]

Everything is run as a person would type it, in a terminal of its own (a pseudo-terminal: Linux and macOS).
TEXT is best tinyshakespeare.txt; what it takes is N steps of the default model, and the comparison. Needs the
extra ``plot``. FOLDER is rt-polarity: with it the picture of docs/robustness.md is drawn too.
"""

import argparse
import fcntl
import html
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

import tinyrnn as tr
from tinyrnn.tools import inspection

PICTURES = Path(__file__).parent / "pictures"
COLUMNS, LINES = 100, 40
LARGEST = 200_000  # bytes


def typed(command, folder):
    """The screen of a terminal after a ``tinyrnn`` command: its lines, with their colours as escape codes."""
    environment = os.environ | {"COLUMNS": str(COLUMNS), "LINES": str(LINES), "TERM": "xterm-256color"}
    environment |= {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    said = bytearray()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # so Linux says that the other end was closed
            break
        if not part:
            break
        said += part
    if process.wait():
        sys.exit(f"{command} failed:\n{said.decode()}")
    return [f"\x1b[1m$ {command}\x1b[0m", *screen(said.decode())]


def screen(written: str) -> list[str]:
    """What stays on a screen: lines may be erased, and written again after the cursor went up."""
    lines, row = [""], 0
    for part in re.split(r"(\r?\n|\r|\x1b\[\d*[AK]|\x1b\[\?\d+[hl])", written):
        if part in ("\n", "\r\n"):
            row += 1
            lines += [""] * (row == len(lines))
        elif up := re.fullmatch(r"\x1b\[(\d*)A", part):
            row = max(0, row - int(up[1] or 1))
        elif part == "\r" or re.fullmatch(r"\x1b\[\d*K", part):
            lines[row] = ""
        elif not re.fullmatch(r"\x1b\[\?\d+[hl]", part):
            lines[row] += part
    while lines and not Text.from_ansi(lines[-1]).plain.strip():
        lines.pop()
    return lines


def draw_terminal(lines, title, target):
    """A terminal with these lines, as SVG."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(
            record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        for line in lines:
            console.print(Text.from_ansi(line), overflow="fold", soft_wrap=False)
        svg = console.export_svg(title=title, font_aspect_ratio=0.61)
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)  # nothing is fetched from elsewhere
    target.write_text(svg.replace("Fira Code, ", ""), encoding="utf-8")


def draw_inside(run, text, target):
    """The text, coloured by the unit of the top layer that changes its sign least often, as SVG."""
    found = inspection.look(tr.load(run), text)
    outputs = found["layers"][-1]["outputs"]
    # A unit that is far from 0, on either side, and changes its sign seldom, tells of more than one symbol.
    signs = np.sign(outputs)
    turns = (np.diff(signs, axis=0) != 0).sum(axis=0)
    strong, balanced = np.abs(outputs).mean(axis=0) > 0.3, np.abs(signs.mean(axis=0)) < 0.5
    unit = int(np.argmin(turns + len(text) * (2 - strong - balanced)))
    values = outputs[:, unit] / np.abs(outputs[:, unit]).max()
    width, height, columns = 9.0, 21.0, 64
    parts, x, y = [], 0, 0
    for symbol, value in zip(found["symbols"], values, strict=True):
        if symbol != "\n":
            faded = round(255 * (1 - 0.8 * min(1.0, abs(float(value)))))
            colour = f"rgb(255,{faded},{faded})" if value > 0 else f"rgb({faded},{faded},255)"
            at = f'x="{10 + x * width:g}" y="{34 + y * height:g}"'
            parts.append(f'<rect {at} width="{width}" height="{height}" fill="{colour}"/>')
            if symbol != " ":
                at = f'x="{10 + x * width:g}" y="{49 + y * height:g}"'
                parts.append(f"<text {at}>{html.escape(symbol)}</text>")
        x += 1
        if symbol == "\n" or x == columns:
            x, y = 0, y + 1
    w, h = 20 + columns * width, 50 + (y + 1) * height
    said = f"unit {unit} of {outputs.shape[1]}, top layer: red is positive, blue negative"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:g} {h:g}" font-family="monospace"'
    parts = [f'{head} font-size="15"><rect width="100%" height="100%" fill="white"/>', *parts]
    target.write_text(f'{"".join(parts)}<text x="10" y="22">{said}</text></svg>\n', encoding="utf-8")


def draw_page(run, prompt, target):
    """The page that a language model is exported as, where Chromium is installed, when it has written."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from browser import CHROMIUM, Browser
    from PIL import Image

    if CHROMIUM is None:
        print("there is no Chromium: the page is not drawn", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        typed(f"tinyrnn export {run.resolve()} --format html --out model.html", folder)
        browser.open(Path(folder, "model.html"), width=1100)
        browser.type("#prompt", prompt)
        browser.value("document.querySelector('#length').value = 230")
        browser.click("#go")
        browser.wait("!running && written.length > 230")
        browser.value("text.choose(text.spans.findIndex((_, i) => i > 40 && written[i].p < 0.3))")
        browser.value("document.querySelector('#status').textContent = ''")  # how fast is this machine's
        browser.value("new Promise(then => setTimeout(then, 300))")
        browser.picture(target)
    whole = Image.open(target).convert("RGB")
    whole.crop((0, 0, whole.width, min(whole.height, 1112))).quantize(160).save(target, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--reviews", type=Path)
    given = parser.parse_args()
    name, steps = given.text.name, given.steps or 2000
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(given.text, folder)
        length = "" if given.steps is None else f" --steps {steps} --eval-every {max(1, steps // 8)}"
        typed(f"tinyrnn train {name} --steps 1 --out compiled", folder)  # what compiles does so once
        lines = typed(f"tinyrnn train {name}{length}", folder)
        (run,) = Path(folder, "runs").iterdir()
        lines += typed(f"tinyrnn generate runs/{run.name} --length 220 --seed 1", folder)
        draw_terminal(lines, "tinyrnn", PICTURES / "train.svg")
        draw_inside(run, given.text.read_text(encoding="utf-8")[:600], PICTURES / "inspect.svg")
        draw_page(run, "ROMEO:\n", PICTURES / "page.png")
        compare = f"tinyrnn compare {name} --cells gru,lstm,rnn --layers 1 --hidden 128"
        typed(f"{compare} --steps 1 --out compiled-too", folder)
        typed(f"{compare} --seeds 2 --steps {steps // 5} --eval-every {max(1, steps // 50)}", folder)
        shutil.copy(Path(folder, "runs", "compare", "compare.png"), PICTURES / "compare.png")
        if given.reviews:
            shutil.copytree(given.reviews, Path(folder, "rt-polarity"))
            typed("tinyrnn train --task classify rt-polarity --encoding latin-1 --out plain", folder)
            typed("tinyrnn robust plain --examples 500", folder)
            shutil.copy(Path(folder, "plain", "robust.png"), PICTURES / "robust.png")
    for picture in PICTURES.iterdir():
        print(f"{picture}  {picture.stat().st_size:,} bytes")
        if picture.stat().st_size > LARGEST:
            sys.exit(f"{picture} is larger than {LARGEST:,} bytes: draw less")


if __name__ == "__main__":
    main()
