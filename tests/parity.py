"""A cell beside the same equations in PyTorch: values and gradients (`parity_suite`). The packages in
``plugins/`` use it too.
"""

import warnings

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.base import threads
from tinyrnn.compiler import CompileWarning
from tinyrnn.compiler.scan import forget_warnings
from tinyrnn.compiler.targets.numba import interpreted

F, H = 5, 6
FORMS = {  # T, B, and what scan is told besides
    "plain": (6, 3, {}),
    "mask and resets": (6, 3, {"mask": 1 - np.tri(6, 3, -3), "resets": np.eye(6, 3, -2)}),
    "reverse": (5, 2, {"reverse": True}),
    "reverse, mask, resets": (5, 2, {"reverse": True, "mask": np.eye(5, 2) < 1, "resets": np.eye(5, 2, -3)}),
    "one sequence": (4, 1, {}),
    "one step": (1, 3, {}),
}


def parity_suite(cell, step, *, inputs=F, hidden=H, counted=False, compiled=True, **options):
    """A pytest function that compares a `Cell` with ``step``, the same equations in PyTorch.

    Outputs, final states and the gradients of inputs, first states and parameters, in float64, eager and
    compiled (by the interpreter, without a CompileWarning): plain, with a mask, resets, reversed, of one
    sequence and of one step. Skipped without PyTorch; marked ``parity``.

    Args:
        step: ``step(p, x, *states)`` of tensors of PyTorch, p a dict of the cell's parameters by name;
            returns the next state, or a tuple.
        inputs, hidden: the sizes.
        counted: the last feature of x is the number of the step.
        compiled: False of a cell that runs eagerly: eager alone.
        options: the cell's.
    """

    @pytest.mark.parity
    @pytest.mark.parametrize("form", FORMS)
    def test(form):
        torch = pytest.importorskip("torch")
        T, B, how = FORMS[form]
        random = np.random.default_rng(3)
        own = cell(inputs, hidden, dtype="float64", generator=tr.Generator(0), **options)
        for p in own.parameters():
            p.assign_(p.numpy() + 0.3 * random.standard_normal(p.shape))
        xs = random.standard_normal((T, B, inputs))
        if counted:
            xs[:, :, -1] = np.arange(T)[:, None]
        first = [random.uniform(0.1, 0.9, shape) for shape in own.state_shapes(B)]
        weights = [
            random.standard_normal((T, B, own.output_size)),
            *map(random.standard_normal, shapes(first)),
        ]
        expected = in_pytorch(torch, step, own, xs, first, weights, **how)
        if form == "plain":  # else less would be compared than it seems
            for name, _ in own.named_parameters():
                assert expected[f"gradient of {name}"].any(), f"nothing depends on {name}"
        with threads.alone(), warnings.catch_warnings():
            warnings.simplefilter("error", CompileWarning)
            forget_warnings()
            for how_run in (False, True) if compiled else (False,):
                found = here(own, xs, first, weights, compile=how_run, **how)
                for name, value in expected.items():
                    np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-10, err_msg=name)

    return test


def shapes(arrays):
    """Of each array."""
    return [a.shape for a in arrays]


def here(cell, xs, first, weights, **how):
    """Values and gradients of a weighted sum of all outputs, by name."""
    xs, first = tr.tensor(xs, requires_grad=True), [tr.tensor(s, requires_grad=True) for s in first]
    leaves = named(xs, first, cell.named_parameters())
    for leaf in leaves.values():
        leaf.grad = None
    with interpreted():
        ys, final = tr.scan(cell.step, xs, tuple(first), **how)
        sum((o * w).sum() for o, w in zip([ys, *final], weights, strict=True)).backward()
    return results([ys.numpy(), *[s.numpy() for s in final]], leaves)


def in_pytorch(torch, step, cell, xs, first, weights, *, mask=None, resets=None, reverse=False):
    """The same by a loop of PyTorch's."""

    def leaf(a):
        return torch.tensor(a, requires_grad=True)

    def rows(flags, t, state):
        return torch.tensor(flags[t], dtype=torch.bool).reshape(-1, *[1] * (state.ndim - 1))

    xs, first = leaf(xs), [leaf(s) for s in first]
    parameters = {name: leaf(p.numpy()) for name, p in cell.named_parameters()}
    states, ys = first, [None] * len(xs)
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        if resets is not None:
            states = [torch.where(rows(resets, t, s), i, s) for i, s in zip(first, states, strict=True)]
        new = step(parameters, xs[t], *states)
        new = new if isinstance(new, tuple) else (new,)
        if mask is not None:
            new = [torch.where(rows(mask, t, s), n, s) for n, s in zip(new, states, strict=True)]
        states, ys[t] = new, new[0]
    outs = [torch.stack(ys), *states]
    sum((o * torch.tensor(w)).sum() for o, w in zip(outs, weights, strict=True)).backward()
    return results([o.detach().numpy() for o in outs], named(xs, first, parameters.items()))


def named(xs, first, parameters):
    """All leaves by name."""
    return {"xs": xs, **{f"first {k}": s for k, s in enumerate(first)}, **dict(parameters)}


def results(outs, leaves):
    """Outputs and gradients by name; 0 for those that nothing depends on."""
    values = dict(zip(["ys", *[f"final {k}" for k in range(len(outs) - 1)]], outs, strict=True))
    return values | {
        f"gradient of {name}": np.zeros(leaf.shape) if leaf.grad is None else np.asarray(leaf.grad.numpy())
        for name, leaf in leaves.items()
    }
