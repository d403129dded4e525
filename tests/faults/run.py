"""Attacks on purpose: ``python tests/faults/run.py --minutes M [--seed S] [--only kills|checkpoints|data]``.

Prints a table of what held; exit code 1 where anything is outside the promise, with what makes it happen
again.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # this checkout, whatever is installed
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TINYRNN_CACHE", str(Path(tempfile.gettempdir()) / "tinyrnn-test-cache"))

PARTS = {"kills": 0.15, "checkpoints": 0.6, "data": 0.25}  # of the time
APART = 1_000_000  # seeds between the processes that attack side by side


def kills(seconds, seed):
    """Processes that are killed while they train."""
    import kills

    return kills.kill(seconds, seed)


def data(seconds, seed):
    """Damaged data and files of options."""
    import data

    return data.fuzz(seconds, seed)


def checkpoints(seconds, seed):
    """Damaged checkpoints, configurations and logs of runs."""
    import checkpoints

    return checkpoints.fuzz(APART, seed, seconds=seconds)


def main():
    """Each part on every core, the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="for all parts together")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the next ones count on")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="side by side; all cores")
    given = parser.parse_args()
    import tinyrnn

    print(f"tinyrnn in {Path(tinyrnn.__file__).parent}", flush=True)
    everything, seeds = [], [given.seed + APART * i for i in range(given.processes)]
    # processes that are not forks of one that computes, and may have processes themselves
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.processes, context) if len(seeds) > 1 else nullcontext() as pool:
        for name in [given.only] if given.only else PARTS:
            seconds = 60 * given.minutes * (1.0 if given.only else PARTS[name])
            counts, outside = {}, []
            for more, found in (pool.map if pool else map)(globals()[name], [seconds] * len(seeds), seeds):
                for kind, n in more.items():
                    before = counts.get(kind, 0)
                    counts[kind] = max(before, n) if kind == "MiB" else before + n
                outside += found
            print(f"{name}, seeds {', '.join(map(str, seeds))}:", flush=True)
            for kind, n in counts.items():
                print(f"  {kind:40} {n:>9,}")
            print(f"  {'outside the promise':40} {len(outside):>9,}", flush=True)
            everything += outside
    for sentence in everything:
        print(f"\n{sentence}", file=sys.stderr)
    sys.exit(bool(everything))


if __name__ == "__main__":
    main()
