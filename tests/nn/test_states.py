"""The states and masks that recurrent layers are given: of this batch; what is masked has no influence."""

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.nn import registry

T, B, F, H = 5, 2, 3, 4
SHAPED = {
    "another batch": lambda s: s[:1],
    "a wider batch": lambda s: np.concatenate([s, s]),
    "another width": lambda s: s[:, :1],
    "one row": lambda s: s[0],
}


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("name", registry.registered())
@pytest.mark.parametrize("how", SHAPED)
def test_states_of_another_shape_are_refused(name, how, compile):
    """Arithmetic would broadcast them: to another batch, or to equal elements."""
    rnn = tr.RNN(name, F, H, num_layers=2, compile=compile, seed=0)
    x = np.random.default_rng(0).standard_normal((T, B, F)).astype("f")
    for k in range(len(rnn.cells)):
        for i in range(len(rnn.cells[0].states)):
            init = [list(layer) for layer in rnn.initial_state(B)]
            init[k][i] = tr.tensor(SHAPED[how](init[k][i].numpy()))
            with pytest.raises(tr.ShapeError, match=f"layer or direction {k}"):
                rnn(x, init)
            with pytest.raises(tr.ShapeError, match=f"layer or direction {k}"):
                rnn.step(tr.tensor(x[0]), init)


@pytest.mark.parametrize("compile", [None, False])
@pytest.mark.parametrize(("rows", "states"), [(1, 2), (2, 1), (3, 2)])
def test_scan_refuses_states_of_another_batch(rows, states, compile):
    xs, h = np.ones((T, rows, H)), tr.zeros((states, H))
    with pytest.raises(tr.ShapeError, match=r"state 0 is \[\d, 4\].*give both the same batch"):
        tr.scan(lambda x, h: tr.tanh(x + h), xs, h, compile=compile)


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_what_is_not_finite_behind_a_mask_reaches_no_gradient(name, value, compile):
    x = np.random.default_rng(0).standard_normal((T, B, F))
    mask = np.ones((T, B))
    mask[3:, 1] = 0
    found = []
    for padding in (0.0, value):
        x[mask == 0] = padding
        rnn, xs = (
            tr.RNN(name, F, H, dtype="float64", seed=0, compile=compile),
            tr.tensor(x, requires_grad=True),
        )
        ys, final = rnn(xs, mask=mask)
        ((ys * ys).sum() + final[0][0].sum()).backward()
        found.append([ys.numpy(), *[t.grad.numpy() for t in (xs, *rnn.parameters())]])
    for clean, padded in zip(*found, strict=True):
        np.testing.assert_array_equal(clean, padded)


def test_what_is_not_finite_and_not_masked_stays():
    x = np.zeros((T, B, F))
    x[0, 0, 0] = np.nan
    ys, _ = tr.RNN("gru", F, H, dtype="float64", seed=0)(x, mask=np.ones((T, B)))
    assert np.isnan(ys.numpy()[:, 0]).all() and np.isfinite(ys.numpy()[:, 1]).all()
