"""The stand-in refuses what CuPy refuses. What can be known of CuPy without a GPU, names and signatures, is
compared with the real package where it is installed.
"""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from refused import REFUSED, STRICTER


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused(what, cupy):
    call, said = REFUSED[what]
    if what in STRICTER and not hasattr(cupy, "Grid"):
        pytest.skip("refused by the stand-in alone")
    with pytest.raises(Exception, match=said) as raised:  # CuPy has errors of its own
        call(cupy, cupy.asarray(np.array([1.0, -2.0, 3.0])))
    assert not isinstance(raised.value, AssertionError)


def test_what_is_not_refused(cupy):
    x = cupy.asarray(np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]]))
    total = x.sum()
    assert isinstance(total, cupy.ndarray) and total.shape == () and float(total) == total.item() == 1.5
    assert isinstance(x[0, 0], cupy.ndarray) and isinstance(np.exp(x), cupy.ndarray)
    np.testing.assert_array_equal((np.float64(2) * x).get(), 2 * x.get())
    np.testing.assert_array_equal(cupy.where(x > 0, x, 0).get(), np.maximum(x.get(), 0))
    np.testing.assert_array_equal(x[np.array([1, 3])].get(), x.get()[[1, 1]])  # 3 is taken modulo 2
    np.testing.assert_array_equal(x[:, cupy.asarray([0, 2])].get(), x.get()[:, [0, 2]])
    np.testing.assert_array_equal(x[x > 0].get(), [1, 3, 0.5])
    view = x[1]
    view[...] = 7
    assert x.get()[1].tolist() == [7, 7, 7] and view.base is x
    assert (x.astype("float32") * 2.0).dtype == np.float32
    assert (cupy.asarray(np.float32([1])) * np.float64(2)).dtype == np.float64


def test_what_is_undefined_or_in_any_order_is_refused_here(standin):
    x = standin.zeros(3)
    with pytest.raises(AssertionError, match="atomic"):
        standin.add.at(x, standin.asarray([0, 0]), 1.0)
    with pytest.raises(AssertionError, match="twice"):
        x[standin.asarray([0, 0])] = standin.ones(2)
    with pytest.raises(NotImplementedError, match="grid"):
        standin.RawModule(code='extern "C" __global__ void f() {}')
    with pytest.raises(NotImplementedError, match="RawKernel"):
        standin.RawKernel("", "f")


SCRIPT = """
import inspect, json, re, sys
sys.path.append(sys.argv[1])
import cupy, numpy
from cupy.cuda import memory
from refused import REFUSED


def parameters(f):
    "Names of the parameters, and of those without a default; of compiled code as its documentation says."
    try:
        found = inspect.signature(f)
    except (TypeError, ValueError):
        line = (f.__doc__ or "").split("\\n")[0]
        text = re.search(r"\\((.*?)\\)( ->|$)", line)
        if not text:
            return None
        words = [re.sub(r"^\\w+ (?=\\w)", "", w.strip()) for w in text[1].split(",")]
        words = [w for w in words if w not in ("*", "/")]
        return [w.partition("=")[0].lstrip("*") for w in words], [w for w in words if "=" not in w]
    single = [p for p in found.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return list(found.parameters), [p.name for p in single if p.default is p.empty]


# An array over memory that is not there: nothing reads it, and so it needs no device.
nowhere = memory.MemoryPointer(memory.UnownedMemory(4096, 24, None, 0), 0)
x, said = cupy.ndarray((3,), float, nowhere), {}
for name, (call, _) in REFUSED.items():
    try:
        call(cupy, x)
        said[name] = None
    except Exception as error:
        said[name] = [type(error).__name__, str(error)]
print(json.dumps({
    "names": sorted(dir(cupy)),
    "functions": {n: parameters(f) for n, f in vars(cupy).items() if callable(f) and not n.startswith("_")},
    "ufuncs": [n for n in dir(cupy) if isinstance(getattr(cupy, n), cupy.ufunc)],
    "methods": {n: parameters(getattr(cupy.ndarray, n)) for n in dir(cupy.ndarray)},
    "cuda": sorted(dir(cupy.cuda)),
    "runtime": sorted(dir(cupy.cuda.runtime)),
    "memory": sorted(dir(cupy.cuda.memory)),
    "errors": [issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError),
               issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError),
               issubclass(cupy.cuda.compiler.CompileException, Exception)],
    "views": [cupy.broadcast_to(x, (2, 3)).base is x, cupy.flip(x).base is x, x.reshape(3, 1).base is x],
    "said": said,
}))
"""


@pytest.fixture(scope="module")
def real():
    """What the real package says of itself, asked in a process of its own: it needs no GPU to be imported."""
    path = os.environ.get("TINYRNN_REAL_CUPY", "")  # a folder, where it is not among the installed packages
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if "No module named 'cupy'" in done.stderr:
        pytest.skip("needs CuPy, installed or in the folder TINYRNN_REAL_CUPY")
    assert not done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def public(names):
    return {n for n in names if not n.startswith("_")}


def test_every_name_of_the_stand_in_is_one_of_the_real_package(standin, real):
    own = {"wrapped", "function", "FUNCTIONS", "UFUNCS", "METHODS", "Grid", "NeverOpens"}
    assert public(vars(standin)) - own <= set(real["names"])
    ours = {n for n in dir(standin.ndarray) if not n.startswith("_") or n.endswith("__")}
    of_python = {"__dict__", "__weakref__", "__module__", "__firstlineno__", "__static_attributes__"}
    assert ours - set(real["methods"]) <= of_python
    errors = {"CompileException", "OutOfMemoryError", "CUDARuntimeError"}  # they stand in modules of it
    own = {"Launches", "sys", "time", "types", "typing"}
    assert public(vars(standin.cuda)) - own - errors <= set(real["cuda"])
    assert public(vars(standin.cuda.runtime)) - {"facts"} <= set(real["runtime"])
    assert public(vars(standin.cuda.memory)) - {"took", "largest"} <= set(real["memory"])
    assert all(real["errors"]) and all(real["views"])
    assert set(standin.UFUNCS) <= set(real["ufuncs"])


@pytest.mark.parametrize("kind", ["functions", "methods"])
def test_every_function_takes_what_the_real_one_takes(kind, standin, real):
    known, wrong = 0, []
    for text in standin.FUNCTIONS if kind == "functions" else standin.METHODS:
        name = text.partition("(")[0]
        scope = {}
        exec(f"def {text}: pass", {"float": float}, scope)
        parameters = inspect.signature(scope[name]).parameters.values()
        ours = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        if real[kind][name] is None:
            continue
        known += 1
        theirs, required = real[kind][name]
        if not set(required) <= set(ours) or ours != [p for p in theirs if p in ours]:
            wrong.append((name, theirs))
    assert not wrong
    assert known > (40 if kind == "functions" else 10)


def test_the_real_package_refuses_the_same(real):
    """What needs a device to be refused fails for want of one, and is known from CuPy's source alone."""
    seen = 0
    for what, said in real["said"].items():
        if what in STRICTER:
            continue
        assert said is not None, what
        if said[0] == "CUDARuntimeError":
            continue
        seen += 1
        assert re.search(REFUSED[what][1], said[1]), (what, said)
    assert seen >= 9
