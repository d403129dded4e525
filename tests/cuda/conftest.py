"""Loops of CUDA C++ on the CPU: their kernels run on arrays of NumPy, in orders of threads that are drawn."""

import importlib
from types import SimpleNamespace

import numpy as np
import on_cpu
import pytest

from tinyrnn.compiler import run
from tinyrnn.compiler.record import Kept
from tinyrnn.compiler.targets import cuda

scan = importlib.import_module("tinyrnn.compiler.scan")  # the package's name for it is the function


class RawModule:
    """What CuPy's is called with."""

    def __init__(self, *, code, options, enable_cooperative_groups):
        assert enable_cooperative_groups
        self.code = code

    def get_function(self, name):
        return on_cpu.Kernel(self.code, name)


class Device:
    """A small GPU: three processors, so that every one has several tiles, or none.

    Attributes:
        shared: bytes of shared memory for each block.
        at_once: blocks that a processor holds.
        precision: of products.
        fault: (text, other text) of the source that is replaced.
    """

    processors, shared, at_once, precision, fault = 3, 227 * 1024, 1, None, None

    def module(self):
        names = "ascontiguousarray empty zeros array asarray matmul".split()
        attributes = {"MultiProcessorCount": self.processors, "MaxSharedMemoryPerBlockOptin": self.shared}
        driver = SimpleNamespace(occupancyMaxActiveBlocksPerMultiprocessor=lambda *_: self.at_once)
        on = SimpleNamespace(Device=lambda: SimpleNamespace(attributes=attributes), driver=driver)
        return SimpleNamespace(cuda=on, RawModule=RawModule, **{n: getattr(np, n) for n in names})


@pytest.fixture
def device(monkeypatch):
    device = Device()
    monkeypatch.setattr(cuda, "require_cupy", lambda _: device.module())
    monkeypatch.setattr(cuda, "THREADS", 64)
    written = cuda.module_source

    def source(*args):
        text = written(*args)
        if device.fault:
            assert device.fault[0] in text
            text = text.replace(*device.fault)
        return text

    class OnCuda(run.Compiled):
        def __init__(self, recording, outputs, tabled, *_):
            super().__init__(recording, outputs, tabled, "cuda", device.precision)
            self.loops.matmul = np.matmul

    monkeypatch.setattr(cuda, "module_source", source)
    monkeypatch.setattr(run, "Compiled", OnCuda)
    for kept in ("_plans", "_programs"):
        monkeypatch.setattr(scan, kept, Kept(64))
    cuda._kernel.cache_clear()
    yield device
    cuda._kernel.cache_clear()
