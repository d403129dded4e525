"""CUDA C++ on the CPU: a `Kernel` is called as CuPy's are."""

import ctypes
import functools
import hashlib
import pathlib
import re
import subprocess
import tempfile
from types import SimpleNamespace

import numpy as np

HEADER = pathlib.Path(__file__).with_name("cuda_on_cpu.h")
_SIGNATURE = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\([\d, ]+\) )?(\w+)\((.*?)\)\s*\{', re.S
)


@functools.cache
def folder():
    return pathlib.Path(tempfile.mkdtemp(prefix="cuda_on_cpu_"))


@functools.cache
def library(source):
    """The shared library of a translation unit: for each kernel ``launch_NAME(blocks, threads, bytes, seed,
    pointers to arguments)``.
    """
    launchers = []
    for name, parameters in _SIGNATURE.findall(source):
        kinds = [re.sub(r"\w+$", "", p.strip()) for p in parameters.split(",")]
        kinds = [kind.replace("__restrict__", "") for kind in kinds]
        values = ", ".join(f"*({kind}*)given[{k}]" for k, kind in enumerate(kinds))
        head = (
            f'extern "C" int launch_{name}(int blocks, int threads, int bytes, unsigned seed, void **given)'
        )
        run = f"cuda_on_cpu::launch(blocks, threads, bytes, seed, [=] {{ {name}({values}); }})"
        launchers.append(f"{head} {{ return {run}; }}\n")
    path = folder() / (hashlib.sha256(source.encode()).hexdigest()[:16] + ".cpp")
    path.write_text("\n".join([f'#include "{HEADER}"', source, *launchers]))
    flags = ["-O1", "-std=c++17", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-w"]
    built = path.with_suffix(".so")
    done = subprocess.run(
        ["g++", *flags, str(path), "-o", str(built)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(done.stderr[:4000])
    return ctypes.CDLL(str(built))


class NeverOpens(Exception):
    """A kernel would hang."""


class Kernel:
    """A kernel of a translation unit; called as CuPy's are.

    Attributes:
        seed: of the order in which the threads of all kernels run.
        calls: how many launches there were.
    """

    seed, kernel = 0, SimpleNamespace(ptr=0)

    def __init__(self, source, name):
        self.function = getattr(library(source), f"launch_{name}")
        self.max_dynamic_shared_size_bytes = 48 * 1024

    calls = 0

    def __call__(self, grid, block, arguments, *, shared_mem=0):
        Kernel.calls += 1
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        held = [_held(a) for a in arguments]
        pointers = (ctypes.c_void_p * len(held))(*[a.ctypes.data for a in held])
        opened = self.function(grid[0], block[0], int(shared_mem), Kernel.seed, pointers)
        if not opened:
            raise NeverOpens("threads wait for a barrier that never opens")


def _held(argument):
    """An array whose memory is the argument: a number, or the address of an array."""
    if isinstance(argument, np.ndarray):
        return np.array(argument.ctypes.data, np.uint64)
    return np.array(argument)
