"""Generation on a GPU is one kernel from token to token, and writes the text that the CPU writes."""

import numpy as np
import on_cpu
import pytest

from tinyrnn.compiler import generation
from tinyrnn.compiler.targets import cuda
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


@pytest.mark.parametrize("options", SAMPLING, ids=str)
def test_the_same_text_as_on_the_cpu_in_one_launch(options, device, monkeypatch):
    how = dict(length=30, seed=1, **options)
    right = {cell: model(cell).generate("一", **how) for cell in ("gru", "lstm")}
    monkeypatch.setattr(generation, "numba", cuda)
    for cell, text in right.items():
        before = on_cpu.Kernel.calls
        for seed in range(3):
            on_cpu.Kernel.seed = seed
            assert model(cell).generate("一", **how) == text
        assert 3 <= on_cpu.Kernel.calls - before < 3 * 31  # the referee's, and one for each stretch of tokens


def test_of_equal_tokens_the_first_is_the_largest(device, monkeypatch):
    monkeypatch.setattr(generation, "numba", cuda)
    even = model("gru")
    even.output.weight.assign_(np.zeros_like(even.output.weight.numpy()))
    assert even.generate("一", length=5, temperature=0.0) == "一" * 6
    for seed in range(3):
        on_cpu.Kernel.seed = seed
        assert set(even.generate("一", length=20, top_k=2, seed=3)) == {"一", "丁"}
