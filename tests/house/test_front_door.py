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
    heavy = {
        "numpy",
        "numba",
        "llvmlite",
        "rich",
        "click",
        "safetensors",
        "matplotlib",
        "threadpoolctl",
        "cupy",
    }
    assert not loaded & heavy
    first_name = PRINTED.replace("print(", "tinyrnn.tanh; print(")
    done = subprocess.run([sys.executable, "-c", first_name], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) & heavy == {"numpy"}


def test_help_is_quick():
    """It imports none of the rooms but the command line, and nothing that they are made of."""
    asked = "import sys\nfrom tinyrnn.cli import main; main(['-h'], standalone_mode=False)"
    asked += "\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "click" in loaded and not {"numpy", "numba", "tinyrnn.front"} & set(loaded)


def test_what_is_offered_is_what_is_public():
    assert set(dir(tr)) == {*tr.__all__, "__version__"} and len(set(tr.__all__)) == len(tr.__all__)
    rooms = {"base", "kernels", "autograd", "compiler", "training", "tasks", "tools", "cli"}
    assert not set(dir(tr)) & rooms
    for name in tr.__all__:
        assert getattr(tr, name) is not None, name
    assert not any(hasattr(tr, name) for name in ("a.b", "..x", ""))
    with pytest.raises(AttributeError, match="no_such_name"):
        tr.no_such_name  # noqa: B018


def test_a_star_import_gives_all_of_it():
    names = {}
    exec("from tinyrnn import *", names)
    assert set(tr.__all__) <= names.keys()
