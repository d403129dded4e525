"""What the benchmarks share, no script of its own: interleaved timing, and writing results with what they
were measured on.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

from tinyrnn.base.errors import TinyrnnError

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


def parser(description):
    """Of the command line of a script, whose docstring describes it."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run(main):
    """``main()``; what is wrong with the input is one sentence, and exit code 2."""
    try:
        main()
    except TinyrnnError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


def instructions():
    """The instruction sets that kernels use here: vectors, products of bfloat16, of 8-bit integers."""
    import llvmlite.binding

    known = "avx2 avx512f avx512bf16 avx512vnni avxvnni amx-bf16 neon bf16 dotprod".split()
    features = llvmlite.binding.get_host_cpu_features()
    return [name for name in known if features.get(name)]


def minima(functions, rounds=60, at_least=0.0002):
    """Least seconds a call of each function, taken in turns, in processor time of this thread: what others
    run at the same time counts for little.
    """
    repeats = []
    for f in functions:
        f()
        start = time.thread_time()
        for _ in range(20):
            f()
        repeats.append(max(1, round(at_least / max((time.thread_time() - start) / 20, 1e-7))))
    least = [float("inf")] * len(functions)
    for _ in range(rounds):
        for i, (f, n) in enumerate(zip(functions, repeats, strict=True)):
            f()  # so that what ran before leaves neither warm nor cold caches
            turns = range(n)
            start = time.thread_time()
            for _ in turns:
                f()
            least[i] = min(least[i], (time.thread_time() - start) / n)
    return least


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
        "instructions": instructions(),
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
