"""Who comes from PyTorch is told the name here, where the other is missing; nothing else changes."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.base.elsewhere import PYTORCH

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PYTORCH)
def test_a_name_of_pytorch_is_translated(name):
    """And what it is translated to is there: a public name, a method of tensors, an attribute."""
    t, said = tr.tensor([1.0]), re.escape(f"what PyTorch calls so is {PYTORCH[name]} here")
    missed = [owner for owner in (tr, tr.nn, t) if not hasattr(owner, name)]
    if name[0].isupper():  # which nobody asks a tensor for
        missed.remove(t)
    assert missed
    for owner in missed:
        with pytest.raises(AttributeError, match=f"has no attribute '{name}': {said}"):
            getattr(owner, name)
    for called in re.findall(r"tr\.([a-zA-Z_]+)", PYTORCH[name]):
        assert hasattr(tr, called)
    first = re.match(r"([a-z_]+)(?=$|[,(])", PYTORCH[name])
    assert first is None or any(hasattr(owner, first[1]) for owner in (tr, t, tr.Module()))


def test_what_is_missing_stays_missing():
    assert not hasattr(tr, "cat") and not hasattr(tr.ones(1), "view") and not hasattr(tr.nn, "LSTM")
    assert not set(dir(tr)) & {"cat", "clamp", "LSTM"} and not {"view", "clone"} & set(dir(tr.ones(1)))
    with pytest.raises(AttributeError, match="no attribute 'nothing'$"):
        tr.ones(1).nothing  # noqa: B018
    assert getattr(tr.ones(1), "origin", None) is None


@pytest.mark.parametrize("made", [tr.zeros, tr.ones, lambda *n: tr.randn(*n, generator=tr.Generator(0))])
def test_a_shape_is_one_argument(made):
    with pytest.raises(tr.ShapeError, match=r"shape=\(2, 3\)"):
        made(2, 3)
    assert made((2, 3)).shape == (2, 3)


def test_arguments_of_other_names():
    with pytest.raises(tr.InputError, match="no argument 'layers': did you mean num_layers"):
        tr.RNN("gru", 3, 4, layers=2)
    with pytest.raises(tr.InputError, match=r"'batch_first': .*\[T, B, F\], time first"):
        tr.RNN("gru", 3, 4, batch_first=True)


def test_a_tensor_of_a_list_says_so_where_it_is_used():
    for use in (repr, str, lambda t: t.shape):
        with pytest.raises(tr.InputError, match=r"make tensors with tr.tensor"):
            use(tr.Tensor([1.0, 2.0]))


def test_the_page_for_those_who_come_from_pytorch_runs(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "pytorch.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"tr": tr, "np": np}
    for block in blocks:
        if "torch." not in block or importlib.util.find_spec("torch"):
            exec(block, names)
    assert len(blocks) >= 3
    for name, here in PYTORCH.items():
        assert f"| `{name}` | {here} |" in page


def test_attributes_of_tensors_stay_quick():
    """A ``__getattr__`` would double the time of reading any attribute, also of those that are there."""
    assert not any("__getattr__" in vars(c) or "__getattribute__" in vars(c) for c in tr.Tensor.__mro__[:-1])
