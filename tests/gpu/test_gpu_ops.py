"""Every op and every public function with ``device="cuda"``: values and gradients of first and second order
are those of the CPU, and everything stays on the device.
"""

import numpy as np
import pytest
from function_cases import FUNCTIONS, NO_GRADIENT, public
from op_samples import SAMPLES

import tinyrnn as tr
from tinyrnn.autograd.tape import TABLE, Tensor, apply

CLOSE = {"float64": dict(rtol=1e-11, atol=1e-12), "float32": dict(rtol=2e-5, atol=2e-6)}


def on(device, x, dtype, grad=True):
    """Arrays as tensors on ``device``, floats as ``dtype``; the rest as it is."""
    if isinstance(x, list) and x and isinstance(x[0], np.ndarray):
        return [on(device, v, dtype, grad) for v in x]
    if not isinstance(x, np.ndarray | np.generic):
        return x
    x = x.astype(dtype) if x.dtype.kind == "f" else x
    return tr.tensor(x, device=device, requires_grad=grad and x.dtype.kind == "f")


def flat(value):
    """The tensors in ``value``."""
    if isinstance(value, list | tuple):
        return [t for v in value for t in flat(v)]
    return [value] if isinstance(value, Tensor) else []


def outcome(f, inputs, device, dtype, gradients=True):
    """Values, gradients, and gradients of those along a direction, as arrays; all were on the device."""
    leaves = [on(device, x, dtype, gradients) for x in inputs]
    ys = flat(f(*leaves))
    found = [*ys]
    if gradients and any(y.requires_grad for y in ys):
        for create_graph in (False, True):
            leaves = [on(device, x, dtype) for x in inputs]
            wanted = [x for x in flat(leaves) if x.requires_grad]
            total = along(flat(f(*leaves)))
            total.backward(create_graph=create_graph)
            first = [x.grad for x in wanted if x.grad is not None]
            found += [g.detach() for g in first]
        again = along([g for g in first if g.requires_grad])
        if again.requires_grad:
            for x in wanted:
                x.grad = None
            again.backward()
            found += [x.grad for x in wanted if x.grad is not None]
    assert {t.device for t in found} == {device}
    return [t.detach().numpy() for t in found]


def along(ys):
    """One number of several tensors: each element has a weight of its own."""
    total = 0.0
    for y in ys:
        if y.requires_grad:
            weights = np.linspace(0.5, 1.5, y.size).reshape(y.shape).astype(y.dtype)
            total = total + (y * tr.tensor(weights, device=y.device)).sum()
    return total if isinstance(total, Tensor) else tr.tensor(0.0)


def compare(f, inputs, dtype, gradients=True):
    ours = outcome(f, inputs, "cuda", dtype, gradients)
    cpu = outcome(f, inputs, "cpu", dtype, gradients)
    assert len(ours) == len(cpu)
    for a, b in zip(ours, cpu, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        if dtype == "float16":
            continue
        np.testing.assert_allclose(a, b, **CLOSE[dtype])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(TABLE))
def test_ops_of_the_table(name, dtype, cupy):
    if name == "to":
        pytest.skip("its own test is below")
    for inputs, params in SAMPLES[name]:
        compare(lambda *xs, p=params: apply(TABLE[name], *xs, **p), inputs, dtype)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"to"}))
def test_public_functions(name, cupy):
    f = public(name)
    for arrays, kwargs in FUNCTIONS[name][1]:
        arrays = [arrays] if isinstance(arrays, list) else arrays
        compare(lambda *xs, k=kwargs: f(*xs, **k), arrays, "float64", name not in NO_GRADIENT)
