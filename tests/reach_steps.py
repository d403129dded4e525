"""Steps beyond rows: features of several axes, memories, derivatives given by hand; and what they give."""

import warnings

import numpy as np

import tinyrnn as tr
from tinyrnn.compiler.ir import CompileWarning
from tinyrnn.compiler.scan import forget_warnings

B, T, F, H, N, S = 3, 4, 3, 4, 3, 5


class Weights:
    """Parameters by name, each of the shape that it is first asked in."""

    def __init__(self, device="cpu"):
        self.rng, self.made, self.device = np.random.default_rng(1), {}, device

    def __call__(self, name, *shape):
        if name not in self.made:
            values = self.rng.standard_normal(shape) / 2
            self.made[name] = tr.tensor(values, requires_grad=True, device=self.device)
        return self.made[name]


def fast_weights(x, y, M, w):
    """Ba et al. 2016, one inner step."""
    k, v = x @ w("k", F, N), x @ w("v", F, H)
    M = 0.9 * M + v[:, :, None] * k[:, None, :]
    return tr.tanh((M * (x @ w("q", F, N))[:, None, :]).sum(axis=2)), M


def delta(x, y, M, w):
    """Schlag, Irie & Schmidhuber 2021, in einsum."""
    k, v = tr.softmax(x @ w("k", F, N)), x @ w("v", F, H)
    beta = tr.sigmoid(x @ w("b", F, 1))
    M = M + tr.einsum("bh,bn->bhn", beta * (v - tr.einsum("bhn,bn->bh", M, k)), k)
    return tr.einsum("bhn,bn->bh", M, x @ w("q", F, N)), M


def products(x, y, M, w):
    """The same kind in products of matrices of the same sequence."""
    M = tr.tanh(M + (x @ w("v", F, H))[:, :, None] @ (x @ w("k", F, N))[:, None, :])
    read = (M @ (x @ w("q", F, N))[:, :, None])[:, :, 0]
    back = (read[:, None, :] @ M)[:, 0]
    return tr.tanh(read * back.sum(axis=1, keepdims=True)), M


def selective(x, y, M, w):
    """A selective state space (Gu & Dao 2023)."""
    d = tr.softplus(x @ w("d", F, H))
    M = tr.exp(-d[:, :, None] * tr.exp(w("A", H, N))) * M
    M = M + (d * (x @ w("u", F, H)))[:, :, None] * (x @ w("B", F, N))[:, None, :]
    return (M * (x @ w("C", F, N))[:, None, :]).sum(axis=-1), M


def softmaxes(x, y, M, w):
    """Softmax along either axis, of a transpose, and reductions that gradients are shared by."""
    M = tr.softmax(M + (x @ w("v", F, H))[:, :, None], axis=1)
    M = M + tr.softmax(tr.permute_dims(M, (0, 2, 1)), axis=-1).reshape((-1, H * N)).reshape((-1, H, N))
    return M.mean(axis=2) + M.max(axis=2) - M.min(axis=2), M * 0.5


def moved(x, y, M, w):
    """Flips, rolls, steps, single columns."""
    M = M * (x @ w("v", F, H))[:, :, None] + 0.3 * tr.roll(M, 1, axis=1) - 0.2 * tr.flip(M, axis=2)
    return tr.tanh(M[:, ::-1, 0] * M[:, :, 1] + M[:, :, -1]), tr.tanh(M[:, ::-1, ::-1])


def heads(x, y, M, w):
    """Two heads of linear attention."""
    k, v, q = (tr.reshape(z, (-1, 2, 2)) for z in tr.split(x @ w("kvq", F, 12), 3))
    M = tr.reshape(M, (-1, 2, 2, 3))[..., :2] + v[:, :, :, None] * tr.softmax(k)[:, :, None, :]
    M = tr.concat([M, tr.zeros_like(M[..., :1])], axis=-1)
    return tr.einsum("bhdn,bhn->bhd", M[..., :2], q).reshape(-1, H), tr.reshape(M, (-1, H, N))


def across(x, y, M, w):
    """Reductions along any axes: the first, the last, some between, several, not beside each other."""
    v = tr.reshape(x @ w("v", F, 24), (-1, 2, 3, 4))
    C = v * tr.reshape(y, (-1, 1, 1, 4)) + tr.reshape(M, (-1, 1, 3, 4))
    outer = tr.max(C, axis=1).sum(axis=1) + C.sum(axis=(1, 2)) + tr.min(C, axis=2).mean(axis=1)
    inner = C.sum(axis=(2, 3))[:, :, None] * tr.max(C, axis=2) + C.sum(axis=(1, 3)).sum(axis=1)[:, None, None]
    z = tr.einsum("bijk,bjk->bk", C, tr.reshape(M, (-1, 3, 4))) + tr.einsum("bijk,bik->bjk", C, inner)[:, 1]
    return tr.tanh(outer + z + inner.sum(axis=1)), tr.tanh(M + tr.logsumexp(C, axis=1).reshape((-1, H, N)))


def rows_of_a_sequence(x, y, M, w):
    """Each row of a sequence times one matrix."""
    return tr.tanh((M @ w("W", N, 2)).reshape(-1, 2 * H) @ w("o", 2 * H, H)), M + (x @ w("v", F, H))[
        :, :, None
    ]


def pieces(x, y, M, w):
    """Stacks, parts and borders."""
    even, odd = y[:, ::2], y[:, 1::2]
    z = tr.stack([tr.concat([odd, even], axis=1), x @ w("v", F, H)], axis=2).reshape(-1, 2 * H)
    z = tr.tanh(z @ w("o", 2 * H, H)) + tr.pad(y[:, 1:], ((0, 0), (1, 0)))
    a, b = tr.split(M, [1], axis=1)
    return z, tr.concat([b, a * 0.9], axis=1)


def dot_attention(x, y, M, w):
    """Luong, Pham & Manning 2015, over a closed-over memory, masked."""
    q = x @ w("x", F, H) + y @ w("h", H, H)
    live = tr.tensor((np.arange(B * S).reshape(B, S) % 4 > 0) * 1.0, device=x.device)
    a = tr.softmax(tr.einsum("bh,bsh->bs", q, w("memory", B, S, H)) - 1e3 * (1 - live))
    return tr.tanh(tr.einsum("bs,bsh->bh", a, w("memory", B, S, H)) + q), M


def additive_attention(x, y, M, w):
    """Bahdanau, Cho & Bengio 2015."""
    q = x @ w("x", F, H) + y @ w("h", H, H)
    a = tr.softmax((tr.tanh(w("keys", B, S, H) + q[:, None, :]) @ w("score", H, 1))[:, :, 0])
    return tr.tanh((a[:, :, None] * w("memory", B, S, H)).sum(axis=1) + q), M


@tr.custom_vjp
def spike(v):
    """A hard step with a surrogate gradient (Zenke & Ganguli 2018)."""
    return (v > 0).astype(v.dtype)


spike.defvjp(lambda v: ((v > 0).astype(v.dtype), v), lambda v, g: (g / (1 + 10 * abs(v)) ** 2,))


@tr.custom_vjp
def both(a, b):
    """Two values of two arguments, and a derivative that is none of theirs."""
    return a * b, a + b


both.defvjp(lambda a, b: ((a * b, a + b), (a, b)), lambda ab, g: (g[0] * ab[1] + g[1], g[0] * ab[0] / 2))


def spikes(x, y, M, w):
    """Leaky integration and fire."""
    v = 0.8 * M[:, :, 0] + x @ w("x", F, H) + y @ w("h", H, H) - 0.5 * y
    return spike(v - 0.1), tr.stack([v, M[:, :, 1], M[:, :, 2]], axis=2)


def by_hand(x, y, M, w):
    """Also of what depends on x alone, which may not leave the loop then."""
    p, q = both(x @ w("x", F, H), y)
    return tr.tanh(p + q @ w("h", H, H)) + spike(x)[:, :1] @ w("s", 1, H), M


def cumulated(x, y, M, w):
    """Sums and products, up to each column and of all of them."""
    z = tr.cumsum(tr.softmax(x @ w("x", F, H)), axis=-1) * y + tr.cumsum(M, axis=1)[:, :, 1]
    M = M + 0.1 * tr.cumprod(1 + 0.1 * tr.sin(M.detach()), axis=2) - 0.1 * tr.cumsum(M, axis=2)
    return tr.tanh(z + tr.prod(1 + 0.1 * y, axis=1, keepdims=True) + tr.prod(M, axis=(1, 2))[:, None]), M


def nothing_to_divide_by(x, y, M, w):
    """A product's gradient where a factor is zero."""
    z = y * tr.tensor(np.arange(H) > 0, dtype="float64", device=x.device)
    return tr.tanh(z.prod(axis=1, keepdims=True) + x @ w("x", F, H) + tr.prod(M, axis=-1)), M * 0.9


def chosen(x, y, M, w):
    """Columns and rows of a table by numbers that the step computes."""
    ids = tr.argmax(y, axis=1, keepdims=True)
    z = tr.take_along_axis(x @ w("x", F, H), ids, axis=1) * y + w("table", H, H)[ids[:, 0]]
    z = z + w("table", H, H)[tr.argmin(y, axis=-1)] * tr.any(y > 0, axis=1, keepdims=True)
    z = z + (ids == 2).astype(y.dtype) + tr.count_nonzero(M > 0.1, axis=2).astype(y.dtype) * 0.1
    row = M[np.arange(len(M)), tr.argmax(M[:, :, 0], axis=1)]
    order = tr.take_along_axis(M, tr.argmax(M, axis=1, keepdims=True), axis=1)
    return tr.tanh(z + row[:, :1] + order[:, 0, :1]), M * 0.9 + tr.all(M < 1, axis=1, keepdims=True) * 0.1


def pointer(x, y, M, w):
    """An element of a memory by content, and by a number that lies in x (Vinyals et al. 2015)."""
    memory = w("memory", B, S, H)
    best = tr.argmax(tr.einsum("bsh,bh->bs", memory, y), axis=1)
    at = (tr.abs(x[:, :1]) * 2).astype(np.int64)[:, :, None]
    found = tr.take_along_axis(memory, tr.broadcast_to(at, (len(y), 2, H)), axis=1)
    return tr.tanh(memory[np.arange(len(y)), best] * y + found.sum(axis=1) + x @ w("x", F, H)), M


def layers_first(x, y, M, w):
    """Features before the batch."""
    z = tr.stack([y, x @ w("x", F, H), 2 * y])
    z = z * z.mean(axis=0) + tr.permute_dims(z, (1, 0, 2)).sum(axis=1) + tr.roll(z, 1, axis=0)
    z = z + (z @ w("h", H, H)) * 0.1
    a, b, c = tr.unstack(tr.concat([z[1:], z[:1]]))
    y = tr.tanh(z[1] + z[::-1].max(axis=0) + tr.einsum("kbh,hj->bj", z, w("h", H, H)) * a + b - c)
    return y, M * w("g", 1, H, 1)


def inner_steps(x, y, M, w):
    """An ordinary differential equation in four of Euler's steps, and a scan of what they gave."""

    U = w("h", H, H)

    def inner(z, y, n):
        return y + 0.25 * tr.tanh(z + y @ U), n + y.mean(axis=1, keepdims=True)

    xs = tr.stack([x @ w("x", F, H)] * 4)
    ys, (y, n) = tr.scan(inner, xs, (y, y[:, :1]), reverse=True)
    again, _ = tr.scan(lambda z, h: tr.tanh(z * h), tr.broadcast_to(y, (3, *y.shape)), ys.mean(axis=0))
    return y + again[-1] * n, M


def flagged(x, y, M, w):
    """Scans in a step with masks and resets that it computes, and one that is fixed; a table of tokens."""
    U, live = w("h", H, H), tr.stack([x[:, 0] != 0, x[:, 1] > 0, y[:, 0] > y[:, 1]])

    def inner(z, y):
        return tr.tanh(z + y @ U)

    xs = tr.stack([x @ w("x", F, H)] * 3)
    _, one = tr.scan(inner, xs, y, mask=live, resets=tr.flip(live, axis=0))
    _, two = tr.scan(inner, xs, one, mask=np.arange(3 * len(y)).reshape(3, -1) % 2, reverse=True)
    token = tr.argmax(x * x, axis=1)
    return tr.tanh(two + tr.embedding(token, w("table", F, H)) + U[token] * y), M


def rows_with_a_bias(x, y, M, w):
    """Rows of each sequence, with what is added to each of them; one table in two ways; products of one."""
    M = tr.tanh(M.reshape(-1, N) @ w("N", N, N) + w("n", N)).reshape(-1, H, N)
    y = tr.tanh(y.reshape(-1, 2) * w("b", 2)).reshape(-1, H) * tr.prod(x[:, :1], axis=1, keepdims=True)
    fixed = tr.tensor(np.arange(H) % 2 > 0, device=x.device)
    return y + x @ w("x", F, H) + (fixed & (y > 0)) * tr.cumprod(y, axis=1), M


def in_derivatives(x, y, M, w):
    """What gradients ask for: transposed memories, steps of an index undone, parts that nobody used."""
    keys = w("keys", B, S, H)
    a = tr.softmax((keys @ y[:, :, None])[:, :, 0]) + tr.tanh(keys + y[:, None, :]) @ w("score", H)
    y = tr.tanh((a[:, None, :] @ keys)[:, 0] + x @ w("x", F, H)) + M[..., ::2].sum(axis=-1)
    first, _, third, _ = tr.unstack(M[:, -1:0:-2, ::-2].sum(axis=1) @ w("u", 2, 4), axis=1)
    z = tr.pad(tr.stack([first, third], axis=1), ((0, 0), (1, 1))) + tr.atan2(y, tr.ones_like(y))
    z = z * (y.reshape(-1) * 2).reshape(-1, H) + tr.take_along_axis(y, np.array([[1, 0, 2, 1]]), axis=1)
    return tr.tanh(z), M * 0.9


STEPS = [
    fast_weights, delta, across, products, selective, softmaxes, moved, heads, rows_of_a_sequence, pieces,
    dot_attention, additive_attention, spikes, by_hand, cumulated, nothing_to_divide_by, chosen, pointer,
    layers_first, inner_steps, in_derivatives, flagged, rows_with_a_bias,
]  # fmt: skip
FORMS = {
    "plain": {},
    "reversed": dict(reverse=True),
    "mask and resets": dict(mask=np.arange(T * B).reshape(T, B) % 3 > 0, resets=np.eye(T, B)),
}


def results(step, compile, steps=T, device="cpu", **form):
    """Outputs, and the gradients of everything."""
    rng, w = np.random.default_rng(0), Weights(device)
    given = [rng.standard_normal(s) / 2 for s in ((steps, B, F), (B, H), (B, H, N))]
    xs, *init = (tr.tensor(a, requires_grad=True, device=device) for a in given)
    step(xs[0], *init, w)  # which makes the parameters
    forget_warnings()
    form = {k: v[:steps] if isinstance(v, np.ndarray) else v for k, v in form.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)  # of steps that know their batch, for three batches
        warnings.filterwarnings("error", ".*runs eagerly", CompileWarning)
        ys, final = tr.scan(
            lambda x, y, M: step(x, y, M, w), xs, tuple(init), return_states=True, compile=compile, **form
        )
    loss = sum(((i + 1) * y * y).sum() for i, y in enumerate(ys)) + sum(f.sum() for f in final)
    loss.backward()
    leaves = [xs, *init, *w.made.values()]
    return [t.numpy() for t in (*ys, *final)] + [
        np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in leaves
    ]


def agree(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
