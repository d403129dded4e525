"""What the benchmarks share: interleaved timing, and writing results with what they were measured on."""

import json
import platform
import statistics
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def interleaved(functions, rounds=16, at_least=0.002):
    """Median seconds a call of each function, taken in turns so that a noisy moment hits all of them
    alike.
    """
    repeats = []
    for f in functions:
        f()  # compiles, loads caches
        start = time.perf_counter()
        f()
        once = time.perf_counter() - start
        repeats.append(max(1, round(at_least / max(once, 1e-7))))
    times = [[] for _ in functions]
    turns = list(zip(functions, repeats, times, strict=True))
    for k in range(rounds):
        for f, n, taken in turns[k % len(turns) :] + turns[: k % len(turns)]:
            f()  # so that what ran before leaves neither warm nor cold caches
            start = time.perf_counter()
            for _ in range(n):
                f()
            taken.append((time.perf_counter() - start) / n)
    return [statistics.median(t) for t in times]


def machine():
    """The processor, as the operating system names it."""
    info = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if info.exists()
        else []
    )
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def save(name, command, rows, **more):
    """Write ``rows`` to ``results/NAME.json`` with date, machine, versions, the command, and ``more``."""
    facts = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "python": platform.python_version(),
        "command": command,
    }
    facts |= {p: version(p) for p in ("numpy", "numba", "tinyrnn")}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(facts | more | {"rows": rows}, indent=1) + "\n")


def table(columns, rows):
    """Rows of dicts as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(str(row[c]) for c in columns) + " |" for row in rows])
