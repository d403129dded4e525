"""Attacks on purpose: ``python tests/faults/run.py --minutes M [--seed S] [--only kills|checkpoints|data]``.

Prints a table of what held; exit code 1 where anything is outside the promise, with what makes it happen
again.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # this checkout, whatever is installed
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TINYRNN_CACHE", str(Path(tempfile.gettempdir()) / "tinyrnn-test-cache"))

PARTS = {"kills": 0.4, "checkpoints": 0.3, "data": 0.3}  # of the time
BATCH = 200  # checkpoints at a time


def kills(seconds, seed):
    """Processes that are killed while they train."""
    import kills

    return kills.kill(seconds, seed)


def data(seconds, seed):
    """Damaged data and files of options."""
    import data

    return data.fuzz(seconds, seed)


def checkpoints(seconds, seed):
    """Damaged checkpoints and configurations of runs."""
    import checkpoints

    counts, outside, until = {}, [], time.monotonic() + seconds
    while time.monotonic() < until:
        more, found = checkpoints.fuzz(BATCH, seed)
        for kind, n in more.items():
            counts[kind] = counts.get(kind, 0) + n
        outside += found
        seed += BATCH
    return counts, outside


def main():
    """Runs the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="for all parts together")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the next ones count on")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    given = parser.parse_args()
    import tinyrnn

    print(f"tinyrnn in {Path(tinyrnn.__file__).parent}", flush=True)
    outside = []
    for name in [given.only] if given.only else PARTS:
        share = 1.0 if given.only else PARTS[name]
        counts, found = globals()[name](60 * given.minutes * share, given.seed)
        print(f"{name}, seed {given.seed}:", flush=True)
        for kind, n in counts.items():
            print(f"  {kind:40} {n:>9,}")
        print(f"  {'outside the promise':40} {len(found):>9,}", flush=True)
        outside += found
    for sentence in outside:
        print(f"\n{sentence}", file=sys.stderr)
    sys.exit(bool(outside))


if __name__ == "__main__":
    main()
