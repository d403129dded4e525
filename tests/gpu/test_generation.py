"""Generation on a GPU is one kernel from token to token, and writes the text that the CPU writes."""

import numpy as np
import pytest

from tinyrnn.tasks.lm.task import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters

SAMPLING = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.5},
    {"top_k": 3},
    {"top_p": 0.8},
    {"top_k": 9, "top_p": 0.6},
]


def model(cell):
    symbols = Characters([chr(0x4E00 + i) for i in range(70)])
    return LanguageModel(symbols, cell=cell, layers=2, hidden=12, embed=8, seed=0, dtype="float64")


@pytest.mark.sample(3)
@pytest.mark.parametrize("options", SAMPLING, ids=str)
def test_the_same_text_as_on_the_cpu(options, cupy):
    how = dict(length=30, seed=1, **options)
    for cell in ("gru", "lstm"):
        right, grid = model(cell).generate("一", **how), getattr(cupy, "Grid", None)
        for seed in range(3 if grid else 1):
            if grid:
                grid.seed, grid.launches = seed, 0
            assert model(cell).to("cuda").generate("一", **how) == right
            assert grid is None or 2 <= grid.launches <= 31  # the referee's, and one for each stretch


def test_of_equal_tokens_the_first_is_the_largest(standin):
    even = model("gru")
    even.output.weight.assign_(np.zeros_like(even.output.weight.numpy()))
    even.to("cuda")
    assert even.generate("一", length=5, temperature=0.0) == "一" * 6
    for seed in range(3):
        standin.Grid.seed = seed
        assert set(even.generate("一", length=20, top_k=2, seed=3)) == {"一", "丁"}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NumPy, in the stand-in
@pytest.mark.parametrize("broken", ["one", "all", "infinite"])
def test_a_model_that_diverged_writes_tokens_that_exist(broken, standin, monkeypatch):
    """No thread goes another way than the others of its block, and no memory is read that was not written."""
    monkeypatch.setenv("TINYRNN_REFEREE", "0")
    sick = model("gru")
    weights = sick.output.weight.numpy().copy()
    rows = weights if weights.shape[0] == 70 else weights.T
    rows[slice(None) if broken == "all" else 3] = np.inf if broken == "infinite" else np.nan
    sick.output.weight.assign_(weights)
    sick.to("cuda")
    for seed in range(3):
        standin.Grid.seed = seed
        for options in SAMPLING:
            assert len(sick.generate("一", length=6, seed=1, **options)) == 7
