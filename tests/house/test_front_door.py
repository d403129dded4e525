"""``import tinyrnn``: what it offers, and what it does not import."""

import json
import subprocess
import sys

import pytest

import tinyrnn as tr

PRINTED = "import json, sys, tinyrnn; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"


def test_the_import_is_light():
    done = subprocess.run([sys.executable, "-c", PRINTED], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    heavy = {"numba", "llvmlite", "rich", "click", "safetensors", "matplotlib", "threadpoolctl", "cupy"}
    assert "numpy" in loaded and not loaded & heavy


def test_what_is_offered_is_what_is_public():
    assert set(dir(tr)) == {*tr.__all__, "__version__"} and len(set(tr.__all__)) == len(tr.__all__)
    rooms = {"base", "kernels", "autograd", "compiler", "training", "tasks", "tools", "cli"}
    assert not set(dir(tr)) & rooms
    for name in tr.__all__:
        assert getattr(tr, name) is not None, name
    with pytest.raises(AttributeError, match="no_such_name"):
        tr.no_such_name  # noqa: B018


def test_a_star_import_gives_all_of_it():
    names = {}
    exec("from tinyrnn import *", names)
    assert set(tr.__all__) <= names.keys()
