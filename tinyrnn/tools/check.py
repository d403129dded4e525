"""What every cell must do: the checks of ``tinyrnn check``, and of the tests of a package of cells
(`cell_suite`).
"""

import math
import statistics
import time
import warnings
from dataclasses import dataclass

import numpy as np

from ..autograd import Tensor, no_grad, tensor
from ..autograd.functional import check_grad, embedding
from ..base import threads
from ..base.errors import TinyrnnError, TraceError
from ..compiler import CompileWarning, next_states
from ..compiler.products import recorded_step
from ..compiler.report import report_cell
from ..compiler.scan import forget_warnings, plan_of
from ..compiler.targets.numba import interpreted
from ..kernels.generator import Generator, draws, using
from ..nn import RNN
from ..nn.functional import cross_entropy
from ..nn.optim import Adam, clip_grad_norm
from ..nn.registry import get_cell
from ..tasks.lm.task import LanguageModel
from ..tasks.text.vocabulary import Characters

T, B, F, H, TOKENS = 4, 3, 5, 6, 7
TINY_TEXT = "the quick brown fox jumps over the lazy dog. "


class CheckFailed(TinyrnnError):
    """A cell does not do what every cell must."""


@dataclass
class Result:
    """Of one check: ``passed``, and what was found."""

    name: str
    passed: bool
    detail: str


def check_cell(cell, options=None) -> list[Result]:
    """All `CHECKS` of a `Cell` subclass with its ``options``; just the first, if that fails.

    Raises:
        InputError: it is no well-formed cell.
    """
    return list(results_of(CHECKS, get_cell(cell), options or {}))


def results_of(names, cell, options):
    """The results of the checks ``names``, one by one. Where the states are wrong the others would only say
    it again.
    """
    for name in names:
        result = run_check(name, cell, options)
        yield result
        if name == "states" and not result.passed:
            return


def run_check(name, cell, options) -> Result:
    """One of `CHECKS`."""
    try:
        with warnings.catch_warnings(), threads.alone():  # what is checked is small
            warnings.simplefilter("ignore")  # a cell that runs eagerly says so in the check of that
            return Result(name, True, (CHECKS | ON_A_GPU)[name](cell, options))
    except (Exception, SystemExit) as error:  # whatever a cell raises is what this check found
        return Result(
            name, False, f"{error}" if isinstance(error, TinyrnnError) else f"{type(error).__name__}: {error}"
        )


def cell_suite(cell, **options):
    """A pytest function that runs every check: ``test_my_cell = tinyrnn.testing.cell_suite(MyCell)``."""
    import pytest

    @pytest.mark.parametrize("check", CHECKS)
    def test(check):
        result = run_check(check, cell, options)
        assert result.passed, result.detail

    return test


def set_parameters(module, values):
    """Put tensors in the place of a module's parameters, by name."""
    for name, value in values.items():
        *path, last = name.split(".")
        owner = module
        for part in path:
            owner = _held(owner)[_key(owner, part)]
        _held(owner)[_key(owner, last)] = value


def _held(owner):
    return owner if isinstance(owner, list | dict) else vars(owner)


def _key(owner, part):
    if isinstance(owner, dict):
        return next(k for k in owner if str(k) == part)
    return int(part) if isinstance(owner, list) else part


# ------------------------------------------------------------------ the checks: each returns what it found,
# or raises


def _layer(cell, options, **settings):
    return RNN(cell, F, H, **{"dtype": "float64", "seed": 1, "cell_options": options, **settings})


def _rewind(rnn):
    """From here on the steps of ``rnn``, if they draw random numbers, draw those of seed 1."""
    rnn.regulariser.generator.state = Generator(1).state


def _inputs(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _states(cell, options):
    layer = cell(F, H, generator=Generator(1), **options)
    shapes = layer.state_shapes(B)
    with using(Generator(1)):
        new = next_states(layer.step, Tensor(_inputs(B, F).astype("f")), layer.initial_state(B))
    for name, shape, state in zip(cell.states, shapes, new, strict=True):
        if list(state.shape) != shape or state.dtype != np.float32:
            raise CheckFailed(
                f"state {name} is {state.dtype} {list(state.shape)}: it must be float32 {shape}"
            )
    if not new[0].requires_grad and layer.parameters():
        raise CheckFailed(
            f"from the initial states the output, {cell.states[0]}, depends on no parameter: "
            "compute it with tensors"
        )
    return (
        ", ".join(f"{n} [batch, {str(s[1:])[1:]}" for n, s in zip(cell.states, shapes, strict=True))
        + f" for a hidden size of {H}"
    )


def _gradients(cell, options):
    if cell.surrogate_gradient:
        return "not compared with finite differences: the cell says that they are surrogates"
    rnn = _layer(cell, options)
    parameters, count = dict(rnn.named_parameters()), len(cell.states)
    for k, p in enumerate(parameters.values()):  # zeros and symmetries hide mistakes
        p.assign_(p.numpy() + 0.1 * _inputs(*p.shape, seed=k))

    def f(xs, *rest):
        rnn.compile = xs.requires_grad  # compiled gradients, and differences of the eager loop
        set_parameters(rnn, dict(zip(parameters, rest[count:], strict=True)))
        _rewind(rnn)
        own = rnn.initial_state(2)[0]  # which may be learned: what is given is added to it
        ys, final = rnn(xs, [tuple(s + d for s, d in zip(own, rest[:count], strict=True))])
        return ys, list(final[0])

    first = [0.5 * _inputs(*s.shape, seed=9) for s in rnn.initial_state(2)[0]]
    check_grad(f, _inputs(3, 2, F), *first, *[p.numpy() for p in parameters.values()], order=1)
    return f"{len(parameters)} parameters, {count} states and the inputs agree with finite differences"


def _run(rnn, tabled=False, **how):
    """Outputs, final states and all gradients; ``tabled``: the inputs are rows of a table."""
    device = rnn.parameters()[0].device
    _rewind(rnn)
    x = tensor(_inputs(TOKENS, F) if tabled else _inputs(T, B, F), requires_grad=True, device=device)
    ys, final = rnn(embedding(np.arange(T * B).reshape(T, B) % TOKENS, x) if tabled else x, **how)
    ((ys * ys).sum() + sum(s.sum() for s in final[0])).backward()
    gradients = [np.zeros(p.shape) if p.grad is None else p.grad.numpy() for p in (x, *rnn.parameters())]
    return [ys.numpy(), *[s.numpy() for s in final[0]], *gradients]


def _gap(cell, options, **how):
    """The largest difference between a layer that is compiled and the eager one."""
    compiled, eager = [_run(_layer(cell, options, compile=c), **how) for c in (True, False)]
    gaps = [np.max(np.abs(a - b) / np.maximum(1, np.abs(b))) for a, b in zip(compiled, eager, strict=True)]
    return np.max(gaps)  # a NaN stays one


def _compiled(cell, options):
    found = report_cell(cell(F, H, dtype="float64", **options))
    if found.reason is not None:
        return f"runs eagerly: {found.reason}"
    mask, resets = np.tri(T, B), np.eye(T, B)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", CompileWarning)
        forget_warnings()
        gaps = [_gap(cell, options), _gap(cell, options, mask=mask, resets=resets)]
        with interpreted():  # what Numba would make of these is made of the same lines
            for how in (dict(mask=mask), dict(resets=resets), dict(tabled=True)):
                gaps.append(_gap(cell, options, **how))
    worst = np.max(gaps)
    if not worst < 1e-10:
        raise CheckFailed(
            f"the compiled loop differs from the eager one by {worst:.1e}: a fault of tinyrnn's compiler, "
            "not of this cell"
        )
    if said:
        return str(said[0].message)
    return f"compiled, and equal to the eager loop to {max(worst, 1e-16):.0e}"


def _masks(cell, options):
    rnn, xs = _layer(cell, options), _inputs(T, 2, F)
    with no_grad(), interpreted(), draws() as drawn:  # compiled they are compared with the eager loop
        mask = np.array([[1, 1]] * 2 + [[1, 0]] * (T - 2))
        _, padded = rnn(Tensor(xs), mask=mask)
        _, short = rnn(Tensor(xs[:2]))
        ys, _ = rnn(Tensor(xs), resets=np.array([[0, 0]] * 2 + [[1, 1]] + [[0, 0]] * (T - 3)))
        fresh, _ = rnn(Tensor(xs[2:]))
    if drawn:
        return "of a cell that draws random numbers compared with the eager loop alone"
    if not all(np.allclose(a.numpy()[1], b.numpy()[1]) for a, b in zip(padded[0], short[0], strict=True)):
        raise CheckFailed("a masked step changed a state")
    if not np.allclose(ys.numpy()[2:], fresh.numpy()):
        raise CheckFailed("after a reset the outputs differ from those of a fresh start")
    return "masked steps keep the states, resets start afresh"


def _saving(cell, options):
    one, two = (_layer(cell, options, seed=s) for s in (1, 2))
    two.load_state_dict(one.state_dict())
    if not all((a == b).all() for a, b in zip(_run(one), _run(two), strict=True)):
        raise CheckFailed(
            "a copy by state_dict() computes something else: keep every weight in self.weight or self.bias"
        )
    return "a copy through state_dict() computes the same"


def _determinism(cell, options):
    if not all((a == b).all() for a, b in zip(*[_run(_layer(cell, options)) for _ in range(2)], strict=True)):
        raise CheckFailed("two runs with one seed differ")
    return "two runs with one seed are equal to the last bit"


def _model(cell, options, vocabulary):
    sizes = dict(hidden=64, embed=32, dtype="float64", seed=0)
    return LanguageModel(vocabulary, cell=cell, cell_options=options, **sizes)


def _logits(model, ids):
    """Of a language model. Its inputs are no longer rows of a table, so the loops are those of other
    checks.
    """
    return model.logits(model.rnn(model.embedding(ids) + 0.0)[0])


def _first_loss(cell, options):
    vocabulary = Characters.build([TINY_TEXT], None)
    ids = np.random.default_rng(0).integers(0, len(vocabulary), (51, 16))
    model = _model(cell, options, vocabulary)
    weights = model.embedding.weight  # inputs of length 1, which what is guessed is judged by
    weights.assign_(weights.numpy() * weights.shape[1] ** -0.5)
    with no_grad():
        loss = cross_entropy(_logits(model, ids[:-1]), ids[1:]).item()
    expected = math.log(len(vocabulary))
    if not abs(loss - expected) < 0.5:
        raise CheckFailed(
            f"the untrained loss is {loss:.2f}, guessing gives {expected:.2f}: the initial states grow too "
            "large"
        )
    return f"{loss:.2f} nats, guessing gives {expected:.2f}"


def _carried(cell, options, windows=40, length=50, batch=8):
    """Trained as `LanguageModel` is, whether a window serves better that begins with the state of the one
    before, as it does where states stay in bounds.
    """
    vocabulary, starts = Characters.build([TINY_TEXT], None), np.random.default_rng(0).integers(0, 40, 400)
    text = vocabulary.encode("".join(TINY_TEXT[i:] + TINY_TEXT[:i] for i in starts))
    ids = text[: windows * length * batch].reshape(batch, -1).T
    found = {}
    for carry in (True, False):
        model, states, losses = _model(cell, options, vocabulary), None, []
        optimizer = Adam(model.parameters(), 5e-3)
        for k in range(0, len(ids) - length, length):
            inputs = model.embedding(ids[k : k + length]) + 0.0  # as in `_logits`
            ys, states = model.rnn(inputs, states if carry else None)
            states = [tuple(s.detach() for s in layer) for layer in states]
            loss = cross_entropy(model.logits(ys), ids[k + 1 : k + length + 1])
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                break
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm(optimizer.params, 1.0)
            optimizer.step()
            model.apply_constraints()
        found[carry] = losses[-1] if not math.isfinite(losses[-1]) else statistics.mean(losses[-5:])
    said = f"{found[True]:.2f} nats with the state carried from window to window, {found[False]:.2f} without"
    return said if found[True] <= found[False] + 0.05 else f"{said}: train it with --state reset"


def _overfit(cell, options, steps=300, goal=0.2):
    vocabulary = Characters.build([TINY_TEXT], None)
    ids = vocabulary.encode(TINY_TEXT * 3)[:, None]
    model = _model(cell, options, vocabulary)
    optimizer = Adam(model.parameters(), 5e-3)
    for step in range(steps):
        loss = cross_entropy(_logits(model, ids[:-1]), ids[1:])
        if not math.isfinite(loss.item()):
            raise CheckFailed(f"the loss became {loss.item()} at step {step}")
        if loss.item() < goal:
            return f"{goal} nats a character after {step} steps"
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm(optimizer.params, 1.0)
        optimizer.step()
        model.apply_constraints()
    raise CheckFailed(
        f"after {steps} steps the loss on {len(TINY_TEXT)} characters is {loss.item():.2f}: it should be "
        f"below {goal}"
    )


def _memory(cell, options, length=200):
    rnn = _layer(cell, options)
    first = [
        tuple(tensor(s.numpy() + 0.1, requires_grad=True) for s in layer) for layer in rnn.initial_state(1)
    ]
    ys, _ = rnn(Tensor(_inputs(length, 1, F)), first)
    ys[-1].sum().backward()
    norm = math.sqrt(math.fsum(float((s.grad.numpy() ** 2).sum()) for s in first[0] if s.grad is not None))
    if not norm < 1e6:
        raise CheckFailed(f"the gradient of the first states is {norm:.0e} after {length} steps: it explodes")
    return f"the gradient of the first states is {norm:.0e} after {length} steps"


def seconds_per_flop(cells, *, hidden=128, batch=32, length=50, rounds=7) -> list[float | None]:
    """Median seconds of a training step of a layer, forward and backward, by operations of its equations;
    taken in turns.
    """
    runs, times = [], []
    for cell, options in cells:
        rnn = RNN(cell, hidden, hidden, dtype="float64", seed=0, cell_options=options)
        runs.append((rnn, Tensor(_inputs(length, batch, hidden)), report_cell(rnn.cells[0]).flops))
        times.append([])
    for k in range(rounds + 1):
        for (rnn, xs, _), taken in zip(runs, times, strict=True):
            began = time.perf_counter()
            rnn(xs)[0].sum().backward()
            if k:  # the first compiles
                taken.append(time.perf_counter() - began)
    return [
        statistics.median(t) / (flops * batch * length) if flops else None
        for (_, _, flops), t in zip(runs, times, strict=True)
    ]


def _speed(cell, options):
    own, lstm = seconds_per_flop([(cell, options), (get_cell("lstm"), {})])
    if own is None:
        return "unknown: the step cannot be read from its tape"
    return f"{lstm / own:.2f} of the speed of lstm, per operation of its equations"


CHECKS = {
    "states": _states,
    "gradients": _gradients,
    "compiled": _compiled,
    "masks and resets": _masks,
    "saving": _saving,
    "determinism": _determinism,
    "first loss": _first_loss,
    "carried state": _carried,
    "tiny text": _overfit,
    "long memory": _memory,
    "speed": _speed,
}


# ------------------------------------------------------------------ on a GPU


def _on_cuda(cell, options):
    """The loops of a GPU against the eager tape of the CPU, in float64."""
    worst = 0.0
    for flags in ({}, dict(mask=np.tri(T, B), resets=np.eye(T, B))):
        layers = _layer(cell, options).to("cuda"), _layer(cell, options, compile=False)
        for a, b in zip(*[_run(layer, **flags) for layer in layers], strict=True):
            gap = float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b))))
            worst = gap if gap != gap else max(worst, gap)
    if not worst < 1e-9:
        raise CheckFailed(f"on the GPU it differs from the eager loop of the CPU by {worst:.1e}")
    return f"equal to the eager loop of the CPU to {max(worst, 1e-16):.0e}"


def _form(cell, options, hidden=256, batch=64):
    """How the loops of a layer of a usual size are launched."""
    layer = RNN(cell, hidden, hidden, seed=0, cell_options=options).to("cuda")
    xs = tensor(np.ones((1, hidden), np.float32), device="cuda")
    try:
        recording = recorded_step(layer.cells[0].step, xs.data, [s.data for s in layer.initial_state(1)[0]])
        loops = plan_of(recording, (0,), frozenset()).loops
    except TraceError as error:
        return f"runs eagerly: {error}"
    return f"hidden {hidden}, batch {batch}: " + "; ".join(loops.described(batch))


ON_A_GPU = {"cuda": _on_cuda, "form on cuda": _form}
