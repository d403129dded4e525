"""Kernels compiled by the tests are kept between runs, outside the user's own cache; BLAS runs on one thread.

The matrices of the tests are small, and several test processes whose BLAS threads wait for each other are
slow.
"""

import collections
import functools
import inspect
import os
import shutil
import sys
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import standin as stand_in
from click.testing import CliRunner, Result

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TINYRNN_CACHE", str(Path(tempfile.gettempdir()) / "tinyrnn-test-cache"))

if "mix_stderr" in inspect.signature(CliRunner.__init__).parameters:  # click before 8.2
    CliRunner.__init__ = functools.partialmethod(CliRunner.__init__, mix_stderr=False)
    Result.output = property(lambda self: self.stdout + self.stderr)

# The same examples on every run; `HYPOTHESIS_PROFILE=search pytest` looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

TEXT = "the quick brown fox jumps over the lazy dog. how now, brown cow?\n" * 40


def command_with_run(folder):
    """The command as a function of its arguments, after it trained a language model on ``a.txt`` into
    ``run``, both in a folder.
    """
    from tinyrnn.cli import main

    text = folder / "a.txt"
    text.write_text("to be or not to be, that is the question.\n" * 20)

    def run(*arguments):
        return CliRunner().invoke(main, [str(a) for a in arguments])

    small = ["--hidden", "6", "--embed", "4", "--steps", "2", "--seq-len", "10", "--quiet"]
    assert run("train", text, *small, "--out", folder / "run").exit_code == 0
    return run


def pytest_configure(config):
    """Some tests run tests: once, and not those that run them."""
    if not hasattr(config, "workerinput"):
        depth = int(os.environ.get("TINYRNN_TESTS_IN_TESTS", "0"))
        if depth > 1:
            pytest.exit("tests that tests run are running tests", returncode=3)
        os.environ["TINYRNN_TESTS_IN_TESTS"] = str(depth + 1)


@pytest.hookimpl(tryfirst=True)  # before the slow ones are left out
def pytest_collection_modifyitems(items):
    """Of the cases of a test marked ``sample(n)`` all but every n-th are slow."""
    seen = collections.Counter()
    for item in items:
        if (mark := item.get_closest_marker("sample")) is not None:
            name = item.nodeid.partition("[")[0]
            if seen[name] % mark.args[0]:
                item.add_marker("slow")
            seen[name] += 1


@pytest.fixture
def rng():
    """Numbers that do not depend on which tests ran before."""
    return np.random.default_rng(0)


@pytest.fixture
def text_file(tmp_path):
    """A small text that every model learns quickly."""
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def corpora():
    """The folder of real corpora, for tests marked ``shared``."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the corpora in ../shared/data")
    return folder


@pytest.fixture
def standin(monkeypatch):
    """The stand-in for CuPy (``tests/standin``), in its place."""
    from tinyrnn.base import devices

    if shutil.which("c++") is None:
        pytest.skip("the stand-in for CuPy compiles kernels: it needs a C++ compiler")
    monkeypatch.setattr(devices, "_working", [])
    for name, module in stand_in.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return stand_in.modules()["cupy"]


@pytest.fixture(params=["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
def cupy(request):
    """CuPy: once its stand-in, and once itself on a GPU where there is one (``pytest -m gpu``). A test that
    uses this may say ``device="cuda"``.
    """
    from tinyrnn.base import devices

    if request.param == "stand-in":
        return request.getfixturevalue("standin")
    try:
        return devices.require_cupy("cuda")
    except devices.InputError as error:
        pytest.skip(str(error))
