"""Write a small run of each task, and what the version that trained them says of them: into the folder that
is the argument, with the tinyrnn that Python finds.

    PYTHONPATH=CHECKOUT python tests/training/formats/make.py tests/training/formats/NAME

A checkout of an earlier commit needs its entry points: `pip install --no-deps -e CHECKOUT` in an environment
of its own. A folder that is there is never written again: the files are kept as they were written then.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

LINES = [
    "the quick brown fox jumps over the lazy dog",
    "how now brown cow",
    "pack my box with five dozen jugs",
]
VALUES = [10, 12, 15, 13, 11, 14, 18, 21, 17, 12, 9, 8]  # of a year's months
DATA = {
    "lm": ("text.txt", "\n".join(LINES * 12) + "\n"),
    "classify": (
        "labels.csv",
        "text,label\n" + "".join(f"{word} thing {i},{word}\n" for i in range(12) for word in ("good", "bad")),
    ),
    "forecast": (
        "series.csv",
        "date,value\n"
        + "".join(
            f"{2010 + i // 12}-{i % 12 + 1:02}-01,{VALUES[i % 12] + i / 7 + i * i % 11 / 5:.3f}\n"
            for i in range(96)
        ),
    ),
    "translate": ("pairs.tsv", "".join(f"{i:03}\t{str(i)[::-1]}\n" for i in range(100, 160))),
}
SHARED = "--hidden 4 --layers 1 --dropout 0 --eval-every 3 --batch-size 4 --schedule constant --warmup 0"
OWN = {
    "lm": "--embed 4 --seq-len 10 --cell lstm",
    "classify": "--embed 4 --level word --max-length 20",
    "forecast": "--horizon 3 --window 6 --season 12",
    "translate": "--embed 4 --level char --max-length 20",
}
ASKED = {
    "lm": ["generate", "--length", "20", "--temperature", "0", "--prompt", "the "],
    "classify": ["predict", "--json", "good thing 3"],
    "forecast": ["predict", "--json"],
    "translate": ["predict", "--json", "123"],
}
STEPS, MORE = 6, 9


def tinyrnn(*words, cwd):
    found = subprocess.run(
        [sys.executable, "-m", "tinyrnn", *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise SystemExit(f"tinyrnn {' '.join(words)}\n{found.stderr}")
    return found.stdout


def asked(task, run, cwd):
    """What a run says, as words of commands: of its model on its data, and of what it makes of new data."""
    file, *_ = DATA[task]
    command, *rest = ASKED[task]
    return {
        "evaluate": tinyrnn("evaluate", "--json", run, file, cwd=cwd),
        command: tinyrnn(command, run, *rest, cwd=cwd),
    }


def rename_data(path: Path, file: str):
    """A configuration names its data by this machine's paths: let it be found beside the run."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["options"]["texts"] = [file]
    if config.pop("digest", None):
        config["digest"] = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def make(folder: Path):
    folder.mkdir()
    for task, (file, text) in DATA.items():
        if task != "lm" and task not in tinyrnn("train", "--help", cwd=folder):
            continue  # this version has no such task
        place = folder / task
        place.mkdir()
        (place / file).write_text(text, encoding="utf-8")
        named = [] if task == "lm" else ["--task", task]
        words = [*SHARED.split(), *OWN[task].split(), "--steps", str(STEPS), "--quiet", "--out", "run"]
        tinyrnn("train", file, *named, *words, cwd=place)
        for picture in (place / "run").glob("*.png"):
            picture.unlink()
        rename_data(place / "run" / "config.json", file)
        said = asked(task, "run", place)
        shutil.copytree(place / "run", place / "copy")
        tinyrnn("train", file, "--resume", "copy", "--steps", str(MORE), "--quiet", cwd=place)
        log = (place / "copy" / "log.jsonl").read_text(encoding="utf-8").splitlines()
        shutil.rmtree(place / "copy")
        expected = {**said, "resumed": json.loads(log[-1])}
        (place / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve())
