"""``cupy.cuda`` of the stand-in: one device that is no device; what a test sets here it reports."""

import sys
import time
import types
import typing


class Launches:
    """Names of the kernels of ours that ran."""

    names: typing.ClassVar = []


class CUDARuntimeError(RuntimeError):
    pass


class CompileException(Exception):
    def __init__(self, msg, source, name="", options=(), backend="nvrtc"):
        super().__init__(msg)
        self.source = source


class OutOfMemoryError(MemoryError):
    def __init__(self, size, total, limit=0):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


runtime = types.ModuleType("cupy.cuda.runtime")
runtime.CUDARuntimeError = CUDARuntimeError
runtime.facts = {"devices": 1, "driver": 13000, "runtime": 13000, "free": 70 << 30, "total": 80 << 30}
# So few processors that each has several tiles of a matrix, or none.
runtime.facts |= {"processors": 3, "shared": 227 * 1024, "blocks at once": 1}
runtime.getDeviceCount = lambda: runtime.facts["devices"]
runtime.driverGetVersion = lambda: runtime.facts["driver"]
runtime.runtimeGetVersion = lambda: runtime.facts["runtime"]
runtime.memGetInfo = lambda: (runtime.facts["free"], runtime.facts["total"])
runtime.getDeviceProperties = lambda device: {
    "name": b"stand-in", "multiProcessorCount": 132, "major": 9, "minor": 0, "totalGlobalMem": 80 << 30,
    "sharedMemPerBlockOptin": 232448, "warpSize": 32,
}  # fmt: skip

memory = types.ModuleType("cupy.cuda.memory")
memory.OutOfMemoryError = OutOfMemoryError
memory.largest = None  # bytes of the largest array that fits


def _took(n):
    if memory.largest is not None and n > memory.largest:
        raise OutOfMemoryError(n, 0)


memory.took = _took
driver = types.ModuleType("cupy.cuda.driver")
driver.occupancyMaxActiveBlocksPerMultiprocessor = lambda *_: runtime.facts["blocks at once"]
compiler = types.ModuleType("cupy.cuda.compiler")
compiler.CompileException = CompileException
for _module in (runtime, memory, driver, compiler):
    sys.modules[_module.__name__] = _module


def is_available():
    return runtime.facts["devices"] > 0


class Device:
    compute_capability = "90"

    def __init__(self, device=0):
        self.id = int(device)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    @property
    def attributes(self):
        facts = runtime.facts
        return {"MultiProcessorCount": facts["processors"], "MaxSharedMemoryPerBlockOptin": facts["shared"]}

    def synchronize(self):
        return None

    @property
    def mem_info(self):
        return runtime.memGetInfo()


class Stream:
    ptr = 0

    def __init__(self, null=False, non_blocking=False, ptds=False, **_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def synchronize(self):
        return None

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        return None


Stream.null = Stream(null=True)


def get_current_stream(device_id=-1):
    return Stream.null


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.time = None

    def record(self, stream=None):
        self.time = time.perf_counter()

    def synchronize(self):
        return None


def get_elapsed_time(start_event, end_event):
    """Milliseconds."""
    return 1000 * (end_event.time - start_event.time)
