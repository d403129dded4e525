"""What a user's script sees of tinyrnn under ``mypy --strict``: full types."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinyrnn as tr
from tinyrnn.base.elsewhere import Elsewhere

RIGHT = """
import numpy as np
import tinyrnn as tr


class Mgu(tr.Cell):
    states = ("h",)

    def build(self, input_size: int, hidden_size: int, *, open: bool = True) -> None:
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.scale = self.weight(hidden_size, 1)

    def step(self, x: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
        return tr.tanh(x @ self.W + h @ self.U + self.b)


def step(x: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
    return (0.5 * h + x.exp() * 2 - 1).tanh()


def loss(w: tr.Tensor) -> tr.Tensor:
    return tr.sum((w * w).reshape(2, 3).softmax(axis=-1)[0]) + w.mean(axis=(0, 1)) ** 2


w = tr.tensor(np.ones((2, 3)), requires_grad=True)
loss(w).backward()
if w.grad is not None:
    norm: float = w.grad.norm().item()
second = tr.grad(lambda w: tr.grad(loss)(w).sum())(w)
values: list[str] = [str(n) for n in w.shape]
part, rest = tr.split(w.T, 2, axis=0)
inside = (w > 0) & (w < 1)
total = -w + 1 - w / 2 + abs(w)

g = tr.Generator(3)
xs = tr.randn((5, 2, 3), generator=g, dtype="float32")
ys, final = tr.scan(step, xs, tr.zeros((2, 3), dtype="float32"), reverse=True)
rnn = tr.RNN(Mgu, 3, 4, num_layers=2, dropout=0.1, seed=1, cell_options={"open": False})
outputs, states = rnn(xs, mask=np.ones((5, 2)))
model = tr.Linear(4, 2, generator=g)
optimizer = tr.optim.Adam([*rnn.parameters(), *model.parameters()], lr=1e-3, betas=(0.9, 0.99))
for _ in range(3):
    optimizer.zero_grad()
    tr.cross_entropy(model(rnn(xs)[0][-1]), np.array([0, 1])).backward()
    optimizer.step(max_norm=1.0)
model.save("weights.safetensors")
shape: tuple[int, ...] = model.load_weights("weights.safetensors").eval().weight.shape
text: str = tr.load("runs/text").generate("The ", length=20)
cell: type[tr.Cell] = tr.cells.get_cell("gru")
with tr.no_grad():
    array: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]" = w.numpy()
"""
WRONG = """
import tinyrnn as tr

x = tr.tensor([1.0, 2.0])
y: int = x.exp()
z = tr.sum(x, axis="rows")
n = tr.Linear(3, 4, biases=True)
"""


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """(line, message) pairs of ``mypy --strict`` about a script of a user, whose own settings count alone."""
    pytest.importorskip("mypy")
    folder, root = tmp_path_factory.mktemp("user"), Path(tr.__file__).parents[1]
    options = ["--strict", "--config-file=", "--follow-imports=silent", "script.py"]

    def complaints(script):
        (folder / "script.py").write_text(script.lstrip("\n"), encoding="utf-8")
        environment = {"MYPYPATH": str(root), "PATH": "", "PYTHONPATH": ""}
        command = [sys.executable, "-m", "mypy", *options]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return [(int(m[1]), m[2]) for m in re.finditer(r"^script\.py:(\d+): error: (.*)$", done.stdout, re.M)]

    return complaints


def test_a_right_script_passes(complaints):
    assert complaints(RIGHT) == []


def test_three_errors_are_found_where_they_are(complaints):
    found = complaints(WRONG)
    assert [line for line, _ in found] == [4, 5, 6], found


def callables():
    """(name, function) of every public function, and of every public method of public classes."""
    for name in tr.__all__:
        thing = getattr(tr, name)
        if isinstance(thing, type):
            for attribute, value in vars(thing).items():
                value = value.fget if isinstance(value, property) else value
                if inspect.isfunction(value) and (not attribute.startswith("_") or attribute == "__init__"):
                    yield f"{name}.{attribute}", value
        elif inspect.isfunction(thing):
            yield name, thing
    for name in tr.optim.__all__:
        thing = getattr(tr.optim, name)
        if isinstance(thing, type):
            yield from ((f"optim.{name}.{a}", v) for a, v in vars(thing).items() if inspect.isfunction(v))


def test_everything_public_is_annotated():
    missing = []
    for name, function in callables():
        function = inspect.unwrap(function)
        parameters = list(inspect.signature(function).parameters.values())
        first = parameters[0].name if parameters and "." in name else None
        bare = [p.name for p in parameters if p.annotation is p.empty and p.name not in {"self", first}]
        bare += ["return"] * (inspect.signature(function).return_annotation is inspect.Signature.empty)
        missing += [f"{name}: {', '.join(bare)}"] if bare else []
    assert missing == []


def test_the_methods_of_a_tensor_stand_in_its_class():
    """No method is put on the class from elsewhere: an editor finds each in the text of the class."""
    text = inspect.getsource(tr.Tensor)
    own = {
        n
        for n, value in vars(tr.Tensor).items()
        if not isinstance(value, Elsewhere)  # which are no attributes
        and n not in {*tr.Tensor.__slots__, "__module__", "__slots__", "__doc__", "__annotations__"}
    }
    assert {n for n in own if not re.search(rf"\b{re.escape(n)}\b", text)} == set()
    assert len(own) > 100
