"""Arguments that make no sense, for every public constructor and loss: one clear error of tinyrnn's own."""

import inspect

import numpy as np
import pytest

import tinyrnn as tr

BOOLEANS = {  # what to give besides the flag
    tr.RNN: ("gru", 3, 4),
    tr.Linear: (3, 4),
    tr.Dropout: (),
    tr.optim.SGD: ([tr.tensor([1.0], requires_grad=True)],),
    tr.scan: (lambda x, h: h, np.zeros((2, 1, 3)), tr.zeros((1, 3))),
    tr.scaled_dot_product_attention: (np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3))),
    tr.ctc_loss: (np.log(np.full((4, 1, 3), 1 / 3)), [[1]], [4], [1]),
}
NAN, INF = float("nan"), float("inf")
SIZES = (0, -1, 2.5, "3", None, NAN, True, [3], 3.0, np.array([3, 4]), 10**400)
RATES = (1.5, -0.1, 1.0, NAN, INF, "0.5", None, [0.1], np.array([0.1]))
NUMBERS = (-1.0, NAN, INF, "0.1", None, [0.1], 10**400)
X = np.zeros((2, 3))
IDS = np.array([0, 2])
P = [tr.tensor([1.0], requires_grad=True)]
LP = np.log(np.full((4, 1, 3), 1 / 3))


def each(name, call, values):
    return [pytest.param(call, v, id=f"{name}-{v!r}") for v in values]


CASES = [
    *each("Linear in", lambda v: tr.Linear(v, 3), SIZES),
    *each("Linear out", lambda v: tr.Linear(3, v), SIZES),
    *each("Linear weight", lambda v: tr.Linear(3, 4, weight=v), ("w", 3, tr.ones((4, 3)), np.ones((3, 4)))),
    *each("Embedding", lambda v: tr.Embedding(v, 3), SIZES),
    *each("Embedding width", lambda v: tr.Embedding(3, v), SIZES),
    *each("LayerNorm", lambda v: tr.LayerNorm(v), SIZES),
    *each("LayerNorm eps", lambda v: tr.LayerNorm(3, eps=v), NUMBERS),
    *each("Attention", lambda v: tr.Attention(v, 3), SIZES),
    *each("Attention key", lambda v: tr.Attention(3, v), SIZES),
    *each("Attention size", lambda v: tr.Attention(3, 3, kind="bahdanau", attention_size=v), SIZES[:4]),
    *each("Attention kind", lambda v: tr.Attention(3, 3, kind=v), ("dot", None, 1)),
    *each("RNN too large", lambda v: tr.RNN("gru", 3, v), (10**12, 10**18)),
    *each("Linear too large", lambda v: tr.Linear(v, v), (10**12, 10**18)),
    *each("Embedding too large", lambda v: tr.Embedding(v, 3), (10**15, 10**19)),
    *each("RNN cell", lambda v: tr.RNN(v, 3, 3), (5, None, int, tr.Linear, "grue")),
    *each("RNN options", lambda v: tr.RNN("lstm", 3, 3, cell_options=v), (5, "forget_bias", {5: 1})),
    *each("RNN dtype", lambda v: tr.RNN("gru", 3, 3, dtype=v), (5, "x", "complex64")),
    *each("save", lambda v: tr.Linear(3, 4).save(v), (5, None, b"x", "a\0b", "no/such/folder/x")),
    *each("load_weights", lambda v: tr.Linear(3, 4).load_weights(v), (5, None, b"x", "a\0b", "no/such")),
    *each("load", lambda v: tr.load(v), (5, None, b"x", "a\0b", "no/such")),
    *each("Run", lambda v: tr.Run(v), (5, None, b"x", "a\0b", "no/such")),
    *each("RNN input", lambda v: tr.RNN("gru", v, 3), SIZES),
    *each("RNN hidden", lambda v: tr.RNN("gru", 3, v), SIZES),
    *each("RNN layers", lambda v: tr.RNN("gru", 3, 3, num_layers=v), SIZES[:-2]),
    *each("RNN dropout", lambda v: tr.RNN("gru", 3, 3, dropout=v), RATES),
    *each("RNN zoneout", lambda v: tr.RNN("gru", 3, 3, zoneout=v), RATES),
    *each("RNN drop", lambda v: tr.RNN("gru", 3, 3, weight_drop=v), RATES),
    *each("cell", lambda v: tr.cells.get_cell("lstm")(v, 3), SIZES),
    *each("Dropout", lambda v: tr.Dropout(v), RATES),
    *each("dropout", lambda v: tr.dropout(X, v, generator=tr.Generator(0)), RATES),
    *each("dropout generator", lambda v: tr.dropout(X, 0.5, generator=v), (None, 3, "g")),
    *each("Dropout generator", lambda v: tr.Dropout(0.5, generator=v), (3, "g")),
    *each("Linear generator", lambda v: tr.Linear(3, 4, generator=v), (3, "g")),
    *each("Generator", lambda v: tr.Generator(v), ("a", -1, 1.5, NAN, [1])),
    *each("layer_norm", lambda v: tr.layer_norm(X, v), (tr.ones(3), np.ones(3), "3", None, 2.5, -3)),
    *each("mse", lambda v: tr.mse_loss(X, v), ("x", None, X[0], [[1], [1, 2]])),
    *each("l1", lambda v: tr.l1_loss(X, v), ("x", None, X[0])),
    *each("huber", lambda v: tr.huber_loss(X, v), ("x", None, X[0])),
    *each("huber delta", lambda v: tr.huber_loss(X, X, delta=v), (0, *NUMBERS[:-1])),
    *each("quantile", lambda v: tr.quantile_loss(X, X, v), (0, 1, *NUMBERS)),
    *each("bce", lambda v: tr.binary_cross_entropy_with_logits(X, v), ("x", None, X[0])),
    *each("cross_entropy", lambda v: tr.cross_entropy(X, v), ("x", None, IDS[:1], np.array([0, 3]), X[:1])),
    *each("cross_entropy logits", lambda v: tr.cross_entropy(v, IDS), ("x", None, 1.0, X[0])),
    *each("smoothing", lambda v: tr.cross_entropy(X, IDS, label_smoothing=v), (1.5, -1, NAN, "0.1", None)),
    *each("class weight", lambda v: tr.cross_entropy(X, IDS, v), ("x", np.ones(2), 1.0)),
    *each("nll", lambda v: tr.nll_loss(X, v), ("x", None, IDS[:1], np.array([-1, 0]))),
    *each("reduction", lambda v: tr.mse_loss(X, X, reduction=v), ("avg", None, 1)),
    *each("ctc", lambda v: tr.ctc_loss(v, [[1]], [4], [1]), ("x", None, X)),
    *each("ctc targets", lambda v: tr.ctc_loss(LP, v, [4], [1]), ("x", None, [[3]], [[0]])),
    *each("ctc lengths", lambda v: tr.ctc_loss(LP, [[1]], v, [1]), ("x", None, [5], [4, 4])),
    *each("ctc blank", lambda v: tr.ctc_loss(LP, [[1]], [4], [1], v), ("0", None, 3, -1, 0.5)),
    *each("beam", lambda v: tr.ctc_beam_decode(LP, beam_width=v), (0, -1, 1.5, "2", None)),
    *each("SGD params", lambda v: tr.optim.SGD(v, 0.1), ([], None, "w", [1.0], P[0])),
    *each("SGD lr", lambda v: tr.optim.SGD(P, v), NUMBERS),
    *each("SGD momentum", lambda v: tr.optim.SGD(P, 0.1, momentum=v), NUMBERS),
    *each(
        "Adam betas", lambda v: tr.optim.Adam(P, betas=v), ((0.9,), 0.9, None, (1.0, 0.9), (0.9, NAN), "ab")
    ),
    *each("Adam eps", lambda v: tr.optim.Adam(P, eps=v), NUMBERS),
    *each("Adam decay", lambda v: tr.optim.AdamW(P, weight_decay=v), NUMBERS),
    *each("RMSprop", lambda v: tr.optim.RMSprop(P, alpha=v), (1.0, *NUMBERS)),
    *each("Adagrad", lambda v: tr.optim.Adagrad(P, eps=v), NUMBERS),
    *each("clip", lambda v: tr.clip_grad_norm(P, v), (-1.0, NAN, "1", None)),
    *each("clip params", lambda v: tr.clip_grad_norm(v, 1.0), (None, "w", [1.0])),
    *each("Schedule", lambda v: tr.optim.Schedule(v), ("cos", None, 3)),
    *each("Schedule warmup", lambda v: tr.optim.Schedule("cosine", warmup=v), (-1, 1.5, NAN, "3", None)),
    *each(
        "RNN init",
        lambda v: tr.RNN("gru", 3, 4)(np.ones((2, 2, 3)), v),
        (3, "h", [], [3], [[]], tr.ones((2, 4))),
    ),
    *each("RNN mask", lambda v: tr.RNN("gru", 3, 4)(np.ones((2, 1, 3)), mask=v), ([[NAN], [1.0]], [1, 1])),
    *each("RNN seeds", lambda v: tr.RNN("gru", 3, 4, seed=v, generator=tr.Generator(0)), (0, 1)),
    *each("not trained", lambda v: tr.optim.Adam(v), ([P[0] * 2], [tr.tensor([1.0])], [P[0], P[0]])),
    *each("too much momentum", lambda v: tr.optim.SGD(P, momentum=v), (1.0, 2)),
    *each("Schedule total", lambda v: tr.optim.Schedule("cosine", total=v), (-1, 1.5, NAN, "3")),
]


@pytest.mark.parametrize(("call", "value"), CASES)
def test_nonsense_is_refused_in_one_clear_sentence(call, value):
    with pytest.raises(tr.TinyrnnError) as error:
        call(value)
    message = str(error.value)
    assert ":" in message and "\n" not in message.strip(), message


@pytest.mark.parametrize("value", ["no", 2, 0, None, 1.0])
def test_a_flag_is_true_or_false(value):
    """Of every public class and function of networks: what is annotated as a bool takes nothing else."""
    public = [*(getattr(tr, name) for name in tr.__all__), *(getattr(tr.optim, n) for n in tr.optim.__all__)]
    networks = [
        m for m in public if callable(m) and m.__module__.startswith(("tinyrnn.nn", "tinyrnn.compiler"))
    ]
    flags = [
        (made, name)
        for made in networks
        for name, parameter in inspect.signature(made).parameters.items()
        if parameter.annotation == "bool" and parameter.kind is parameter.KEYWORD_ONLY
    ]
    assert {made for made, _ in flags} == set(BOOLEANS)
    for made, name in flags:
        with pytest.raises(tr.InputError, match="true or false"):
            made(*BOOLEANS[made], **{name: value})
    assert tr.RNN("gru", 3, 4, bidirectional=np.True_).directions == 2


def test_what_makes_sense_is_taken():
    assert tr.Linear(np.int64(3), 4, weight=tr.ones((3, 4))).weight.shape == (3, 4)
    assert tr.Dropout(0).p == 0 and tr.Dropout(np.float32(0.25)).p == 0.25
    assert tr.Generator(np.int64(3)).seed == 3 and tr.Generator(2**70).seed == 2**70
    assert tr.clip_grad_norm(P, float("inf")) == 0
    assert tr.layer_norm(X, 3).shape == tr.layer_norm(X, (2, 3)).shape == (2, 3)
    assert tr.optim.SGD(iter(P), 0).lr == 0
