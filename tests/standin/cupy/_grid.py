"""Kernels of threads, blocks and barriers, on the CPU: every thread is a fiber, and they run in an order that
is drawn (``cuda_on_cpu.h``). A kernel that lacks a barrier gives other results in other orders.
"""

import ctypes
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ._array import ndarray
from ._kernels import compiled

_HEADER = Path(__file__).with_name("cuda_on_cpu.h")
_KERNEL = re.compile(r'extern "C" __global__ void __launch_bounds__\([\w, ]+\) (\w+)\((.*?)\)\s*\{', re.S)
_ARGUMENTS = "int blocks, int threads, int bytes, unsigned seed, void **given"


class NeverOpens(Exception):
    """A kernel would hang: its threads wait for a barrier that never opens."""


class Grid:
    """What kernels run on, for tests to set.

    Attributes:
        seed: of the order of the threads.
        launches: how many there were.
        threads: in place of the threads of a block that a launch asks for, where it asks for more.
        faults: pairs of texts: what is replaced in every source, to see that tests find it.
    """

    seed, launches, threads, faults = 0, 0, 64, ()


class RawModule:
    """As CuPy's; kernels have C names and say their launch bounds."""

    def __init__(self, *, code, options=(), enable_cooperative_groups=False):
        if not enable_cooperative_groups:
            raise NotImplementedError("kernels whose grid does not wait")
        for text, other in Grid.faults:
            code = code.replace(text, other)
        launchers = []
        for name, parameters in _KERNEL.findall(code):
            kinds = [re.sub(r"\w+$", "", p.strip()) for p in parameters.split(",")]
            kinds = [kind.replace("__restrict__", "") for kind in kinds]
            values = ", ".join(f"*({kind}*)given[{k}]" for k, kind in enumerate(kinds))
            head = f'extern "C" int launch_{name}({_ARGUMENTS})'
            run = f"cuda_on_cpu::launch(blocks, threads, bytes, seed, [=] {{ {name}({values}); }})"
            launchers.append(f"{head} {{ return {run}; }}\n")
        source = "\n".join([_HEADER.read_text(), code, *launchers])
        self._library = ctypes.CDLL(compiled(source, "-U_FORTIFY_SOURCE", "-w"))

    def get_function(self, name):
        return Kernel(getattr(self._library, f"launch_{name}"))


class Kernel:
    """As CuPy's RawKernel: ``kernel((blocks,), (threads,), arguments, shared_mem=bytes)``."""

    kernel = SimpleNamespace(ptr=0)

    def __init__(self, function):
        self.function, self.max_dynamic_shared_size_bytes = function, 48 * 1024

    def __call__(self, grid, block, args, *, shared_mem=0):
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError(f"{shared_mem} bytes of shared memory are more than was asked for")
        held = [_held(a) for a in args]
        pointers = (ctypes.c_void_p * len(held))(*[a.ctypes.data for a in held])
        Grid.launches += 1
        if not self.function(grid[0], min(block[0], Grid.threads), int(shared_mem), Grid.seed, pointers):
            raise NeverOpens


def _held(argument):
    """An array whose memory is the argument: a number, or the address of an array."""
    if isinstance(argument, ndarray):
        return np.array(argument._a.ctypes.data, np.uint64)
    if isinstance(argument, np.ndarray) or not isinstance(argument, np.generic):
        raise TypeError(f"a kernel takes arrays of CuPy and numbers of NumPy, not {type(argument)}")
    return np.array(argument)
