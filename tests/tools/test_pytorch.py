"""Networks from PyTorch and back: weights by its names, values and gradients, language models, and runs of
them.
"""

import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.lm.model import LanguageModel

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.parity

KINDS = {"rnn": {}, "relu": {"nonlinearity": "relu"}, "lstm": {}, "gru": {}}
WIDTH, SIZE, BATCH, STEPS = 3, 4, 2, 5


def network(kind, depth=1, both=False, bias=True, **more):
    torch.manual_seed(0)
    shape = dict(num_layers=depth, bidirectional=both, bias=bias, dtype=torch.float64)
    made = getattr(nn, "RNN" if kind == "relu" else kind.upper())(WIDTH, SIZE, **shape, **KINDS[kind], **more)
    for p in made.parameters():  # biases that differ, and weights that matter
        nn.init.normal_(p, std=0.6)
    return made


def inputs():
    return np.random.default_rng(0).standard_normal((STEPS, BATCH, WIDTH))


def same(ours, theirs):
    """Values, final states, and the gradients of inputs and of every weight, under PyTorch's names."""
    x = inputs()
    ours.zero_grad()
    theirs.zero_grad()
    here, there = tr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ys, states = ours(here)
    expected, final = theirs(there)
    final = final if isinstance(final, tuple) else (final,)
    close(ys.numpy(), expected)
    for i, stacked in enumerate(final):
        close(np.stack([layer[i].numpy() for layer in states]), stacked)
    weights = np.random.default_rng(1).standard_normal(ys.shape)
    (ys * weights).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    close(here.grad.numpy(), there.grad)
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for i, cell in enumerate(ours.cells):
        end = f"_l{i // ours.directions}" + "_reverse" * (i % ours.directions)
        for own, name in (("W", "weight_ih"), ("U", "weight_hh"), ("b", "bias_ih"), ("b_hn", "bias_hh")):
            if hasattr(cell, own) and name + end in gradients:
                expected = gradients[name + end].numpy().T
                expected = expected[-SIZE:] if own == "b_hn" else expected
                close(getattr(cell, own).grad.numpy(), torch.tensor(np.ascontiguousarray(expected)))


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)


CASES = list(itertools.product(KINDS, (1, 2, 3), (False, True), (True, False)))


@pytest.mark.parametrize(("kind", "depth", "both", "bias"), CASES)
def test_recurrent_layers_both_ways(kind, depth, both, bias):
    theirs = network(kind, depth, both, bias)
    ours = tr.from_torch(theirs)
    ours.compile = depth == 2  # each loop once compiled, else op by op
    assert ours.num_layers == depth and ours.directions == 1 + both
    same(ours, theirs)
    back = tr.to_torch(ours)
    assert type(back) is type(theirs)
    same(ours, back)  # which also says that its weights are those


@pytest.mark.parametrize("kind", KINDS)
def test_state_dicts_and_files_by_the_names_of_pytorch(kind, tmp_path):
    theirs = network(kind, 2, True)
    said = (
        {"activation": "relu" if kind == "relu" else "tanh"}
        if "LSTM GRU".find(type(theirs).__name__) < 0
        else {}
    )
    state = theirs.state_dict()
    same(tr.from_torch(state, **said), theirs)
    same(tr.from_torch({f"net.rnn.{name}": a.numpy() for name, a in state.items()}, **said), theirs)
    save_file({name: a.numpy() for name, a in state.items()}, tmp_path / "w.safetensors")
    same(tr.from_torch(tmp_path / "w.safetensors", **said), theirs)
    options = {"relu": {"activation": "relu"}, "gru": {"reset_after": True}}.get(kind)
    shape = dict(num_layers=2, bidirectional=True, dtype="float64", cell_options=options)
    for load in (lambda r: r.load_state_dict(state), lambda r: r.load_weights(tmp_path / "w.safetensors")):
        ours = tr.RNN("rnn" if kind == "relu" else kind, WIDTH, SIZE, **shape)
        load(ours)
        same(ours, theirs)


class Both(tr.Module):
    """A model of one's own: it has the names of a network there with the same attributes."""

    def __init__(self):
        self.rnn = tr.RNN("lstm", WIDTH, SIZE, bidirectional=True, dtype="float64")
        self.heads = [tr.Linear(2 * SIZE, 2 * SIZE, dtype="float64"), tr.LayerNorm(2 * SIZE, dtype="float64")]

    def forward(self, x):
        return self.heads[1](self.heads[0](self.rnn(x)[0]))


def test_a_model_of_ones_own_takes_the_weights_of_its_twin(tmp_path):
    theirs = nn.ModuleDict(
        {
            "rnn": network("lstm", both=True),
            "heads": nn.ModuleList([nn.Linear(8, 8), nn.LayerNorm(8)]).double(),
        }
    )
    ours = Both()
    ours.load_state_dict(theirs.state_dict())  # a square matrix too is transposed
    x = inputs()
    expected = theirs["heads"][1](theirs["heads"][0](theirs["rnn"](torch.tensor(x))[0]))
    close(ours(x).numpy(), expected)
    with pytest.raises(tr.InputError, match=r"heads.1.bias stand on one side only"):
        ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k != "heads.1.bias"})


def test_other_layers_and_halves():
    for bias in (True, False):
        theirs = nn.Linear(3, 2, bias=bias).double()
        ours = tr.from_torch(theirs)
        x = inputs()
        close(ours(x).numpy(), theirs(torch.tensor(x)))
        close(ours(x).numpy(), tr.to_torch(ours)(torch.tensor(x)))
    theirs = nn.Embedding(5, 3).double()
    ours, ids = tr.from_torch(theirs), np.array([[0, 4], [2, 2]])
    close(ours(ids).numpy(), theirs(torch.tensor(ids)))
    close(ours(ids).numpy(), tr.to_torch(ours)(torch.tensor(ids)))
    half = tr.from_torch(nn.LSTM(2, 3, dtype=torch.bfloat16))
    assert half.cells[0].W.dtype == np.float32
    parts = tr.from_torch(nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.GRU(3, 4, 2, dropout=0.3)}))
    assert sorted(parts) == ["a", "b"] and parts["b"].dropout.p == 0.3


def test_tensors_are_as_before():
    t = torch.arange(3.0)
    assert np.shares_memory(tr.from_torch(t).numpy(), t.numpy())
    assert np.shares_memory(tr.to_torch(tr.from_torch(t)).numpy(), t.numpy())
    with pytest.raises(tr.InputError, match="ndarray is no tensor of PyTorch"):
        tr.from_torch(np.ones(2))


def peephole():
    return tr.RNN("lstm", 2, 3, cell_options={"peephole": True})


STATE = {name: p.detach().numpy() for name, p in nn.LSTM(2, 3, 2).named_parameters()}
REFUSED = [
    (lambda: tr.from_torch(nn.LSTM(3, 4, proj_size=2)), "weight_hr_l0 projects the output (proj_size)"),
    (
        lambda: tr.from_torch(nn.TransformerEncoderLayer(4, 2)),
        "TransformerEncoderLayer holds self_attn.in_proj",
    ),
    (
        lambda: tr.from_torch(nn.Sequential(nn.GRU(2, 3), nn.LayerNorm(3))),
        "Sequential holds 1.weight, 1.bias",
    ),
    (lambda: tr.from_torch(nn.Embedding(4, 2, max_norm=1.0)), "Embedding has max_norm"),
    (lambda: tr.from_torch(nn.RNN(2, 3).state_dict()), "give activation='tanh' or 'relu'"),
    (lambda: tr.from_torch(nn.Linear(2, 3).state_dict()), "of none: names such as weight_ih_l0 are missing"),
    (
        lambda: tr.from_torch({**STATE, "norm.weight": np.ones(3)}),
        "beside recurrent layers there are norm.weight",
    ),
    (lambda: tr.from_torch({k: v for k, v in STATE.items() if "l0" not in k}), "weight_ih_l0 is missing"),
    (lambda: tr.from_torch({k: v for k, v in STATE.items() if k != "bias_hh_l1"}), "bias_hh_l1 is missing"),
    (
        lambda: tr.from_torch({k: v for k, v in STATE.items() if k != "weight_hh_l1"}),
        "weight_hh_l1 is missing",
    ),
    (
        lambda: tr.from_torch({**STATE, "weight_ih_l1_reverse": STATE["weight_ih_l1"]}),
        "l0_reverse is missing",
    ),
    (
        lambda: tr.from_torch({**STATE, "weight_hh_l0": np.ones((5, 3))}),
        "no weights of nn.RNN, nn.LSTM or nn.GRU",
    ),
    (lambda: tr.from_torch({**STATE, "weight_hh_l1": np.ones(3)}), "weight_hh_l1 [3] cannot be"),
    (lambda: tr.from_torch({**STATE, "weight_hh_l0": np.ones(3)}), "weight_hh_l0 [3], bias_ih_l0"),
    (lambda: tr.from_torch({**STATE, "bias_hh_l0": "x"}), "weight bias_hh_l0 is 'x'"),
    (lambda: tr.from_torch("net.pt"), "files of torch.save are pickle, which is not read"),
    (lambda: tr.from_torch("none.safetensors"), "none.safetensors cannot be read"),
    (lambda: tr.to_torch(tr.RNN("gru", 2, 3)), "gru without reset_after has no counterpart in PyTorch"),
    (lambda: tr.to_torch(tr.RNN("ln-lstm", 2, 3)), "LayerNormLSTM has no counterpart"),
    (lambda: tr.to_torch(peephole()), "lstm with a peephole has no counterpart"),
    (lambda: tr.to_torch(tr.RNN("lstm", 2, 3, zoneout=0.1)), "zoneout is part of the step"),
    (lambda: tr.to_torch(tr.LayerNorm(3)), "a LayerNorm is not known there"),
    (
        lambda: peephole().load_state_dict(nn.LSTM(2, 3).state_dict()),
        "lstm with a peephole has no counterpart",
    ),
]


@pytest.mark.parametrize(("call", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_has_no_counterpart_is_one_sentence(call, said):
    with pytest.raises(tr.InputError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)


# ------------------------------------------------------------------ language models

SYMBOLS = sorted(set("the quick brown fox jumps over the lazy dog. how now, brown cow?\n"))


class Net(nn.Module):
    """As people write it, under names of their own."""

    def __init__(self, kind="LSTM", tied=False, bias=True, width=6, **more):
        super().__init__()
        torch.manual_seed(1)
        self.emb = nn.Embedding(len(SYMBOLS), width)
        self.drop = nn.Dropout(0.1)
        self.body = getattr(nn, kind)(width, 6, 2, batch_first=True, **more)
        self.head = nn.Linear(6, len(SYMBOLS), bias=bias)
        if tied:
            self.head.weight = self.emb.weight

    def forward(self, ids, states=None):
        ys, states = self.body(self.drop(self.emb(ids)), states)
        return self.head(ys), states


def logits(module, ids):
    with torch.no_grad():
        return module.eval()(torch.tensor(ids.T))[0].numpy().transpose(1, 0, 2)


FORMS = [
    ("LSTM", {}),
    ("GRU", {"tied": True}),
    ("RNN", {"bias": False, "width": 3}),
    ("GRU", {"bias": False}),
]


@pytest.mark.parametrize(("kind", "how"), FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_language_models_both_ways(kind, how, dtype, tmp_path):
    module, ids = Net(kind, **how).to(dtype), np.random.default_rng(0).integers(0, len(SYMBOLS), (7, 3))
    expected, near = logits(module, ids), 1e-12 if dtype == torch.float64 else 1e-5
    arrays = {name: p.numpy() for name, p in module.state_dict().items()}
    if how.get("tied"):  # as safetensors keeps what is shared, under either name
        del arrays["head.weight" if dtype == torch.float32 else "emb.weight"]
    save_file(arrays, tmp_path / "w.safetensors")
    said = {"activation": "tanh"} if kind == "RNN" else {}
    for source in (module, module.state_dict(), tmp_path / "w.safetensors"):
        model = tr.from_torch(source, symbols=SYMBOLS, **({} if source is module else said))
        assert isinstance(model, LanguageModel) and model.tie == how.get("tied", False)
        assert model.vocabulary.symbols == SYMBOLS and not model.training
        np.testing.assert_allclose(model(ids)[0].numpy(), expected, rtol=near, atol=near)
    back = tr.to_torch(model)
    assert back.symbols == SYMBOLS and (back.output.weight is back.embedding.weight) == model.tie
    np.testing.assert_allclose(back(torch.tensor(ids))[0].detach(), expected, rtol=near, atol=near)
    assert len(model.generate("the ", length=5)) == 9


def test_a_language_model_learns_on_as_in_pytorch():
    """The gradients of the loss, by every weight."""
    module, random = Net("LSTM", dropout=0.0).double(), np.random.default_rng(0)
    module.drop.p = 0.0
    model = tr.from_torch(module, symbols=SYMBOLS)
    ids, targets = random.integers(0, len(SYMBOLS), (2, 6, 3))
    loss, _ = model.train().cost(ids, targets)
    loss.backward()
    expected = nn.functional.cross_entropy(
        module(torch.tensor(ids.T))[0].flatten(0, 1), torch.tensor(targets.T).flatten()
    )
    expected.backward()
    close(loss.numpy(), expected)
    close(model.embedding.weight.grad.numpy(), module.emb.weight.grad)
    close(model.output.weight.grad.numpy().T, module.head.weight.grad)
    for i, cell in enumerate(model.rnn.cells):
        close(cell.W.grad.numpy().T, getattr(module.body, f"weight_ih_l{i}").grad)
        close(cell.b.grad.numpy(), getattr(module.body, f"bias_hh_l{i}").grad)


def test_symbols_as_people_have_them():
    module = Net()
    text = "".join(SYMBOLS)
    forms = (SYMBOLS, tuple(SYMBOLS), text, text * 2 + text[::-1], {s: i for i, s in enumerate(SYMBOLS)})
    for symbols in forms:
        assert tr.from_torch(module, symbols=symbols).vocabulary.symbols == SYMBOLS
    assert tr.from_torch(module, symbols=text[::-1]).vocabulary.symbols == SYMBOLS[::-1]
    words = ["<unk>", "<eos>", *(f"w{i}" for i in range(len(SYMBOLS) - 2))]
    model = tr.from_torch(module, symbols=words, level="token")
    assert model.vocabulary.unknown == 0 and model.vocabulary.level == "token"
    for symbols, said in (
        (text[1:], f"{len(SYMBOLS) - 1} symbols, but the network has {len(SYMBOLS)}"),
        (words, "level='token'"),
        (3, "symbols is 3"),
        ({"a": 1}, "not numbered from 0 on"),
        (SYMBOLS[:-1] + SYMBOLS[:1], "name something twice"),
    ):
        with pytest.raises(tr.InputError, match=said):
            tr.from_torch(module, symbols=symbols)


class Two(nn.Module):
    def __init__(self, *parts):
        super().__init__()
        for i, part in enumerate(parts):
            setattr(self, f"part{i}", part)


@pytest.mark.parametrize(("parts", "said"), [
    ([nn.LSTM(2, 3)], "a language model has one nn.Linear, this network has none"),
    ([nn.LSTM(2, 3), nn.LSTM(3, 3), nn.Linear(3, 3)], "this network has 2 (part1, part2)"),
    ([nn.LSTM(2, 3, bidirectional=True), nn.Linear(6, 3)], "reads from left to right"),
    ([nn.LSTM(4, 3), nn.Linear(3, 3)], "embedding has the width 2, the recurrent layers 4"),
    ([nn.LSTM(2, 3), nn.Linear(3, 4)], "output has the width 4, the embedding's symbols 3"),
])  # fmt: skip
def test_what_is_no_language_model(parts, said):
    with pytest.raises(tr.InputError) as error:
        tr.from_torch(Two(nn.Embedding(3, 2), *parts), symbols="abc")
    assert said in str(error.value)


def test_weights_that_could_be_either():
    """Embedding and output of one shape, without a bias: told apart by their names, or not at all."""
    module = Net(bias=False)
    state = module.state_dict()
    expected = logits(module, np.zeros((2, 1), int))
    found = tr.from_torch(state, symbols=SYMBOLS)(np.zeros((2, 1), int))[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
    other = {name.replace("emb", "first"): array for name, array in state.items()}
    with pytest.raises(tr.InputError, match="which weights are embedding and output cannot be told"):
        tr.from_torch(other, symbols=SYMBOLS)


def test_a_model_trained_here_goes_to_pytorch(text_file, tmp_path):
    settings = dict(hidden=6, embed=5, layers=2, seq_len=10, batch_size=4, steps=3, dropout=0.2, quiet=True)
    run = tr.train(text_file, cell="lstm", out=tmp_path / "run", weight_drop=0.1, **settings)
    module = tr.to_torch(run)
    ids = np.random.default_rng(0).integers(0, len(module.symbols), (5, 2))
    np.testing.assert_allclose(
        module(torch.tensor(ids))[0].detach(), run.model(ids)[0].numpy(), rtol=1e-5, atol=1e-6
    )
    again = tr.from_torch(module, symbols=module.symbols)
    assert again.generate("the", seed=1, length=20) == run.generate("the", seed=1, length=20)
    assert module.dropout_in.p == module.rnn.dropout == 0.2 and not module.training


# ------------------------------------------------------------------ runs


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def imported(tmp_path):
    """A network that was trained a little in PyTorch, its file, its symbols, and the run made of them."""
    module, random = Net("GRU"), np.random.default_rng(0)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    ids = torch.tensor(random.integers(0, 5, (4, 30)))
    for _ in range(20):  # it learns that only the first five symbols come
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(ids[:, :-1])[0].flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()
    save_file({name: p.numpy() for name, p in module.state_dict().items()}, tmp_path / "net.safetensors")
    (tmp_path / "symbols.json").write_text(json.dumps(SYMBOLS))
    done = invoke(
        "import",
        tmp_path / "net.safetensors",
        "--symbols",
        tmp_path / "symbols.json",
        "--out",
        tmp_path / "run",
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "run")
    assert "gru 2 x 6, embedding 6; 31 symbols (char" in done.stderr
    return module.eval(), tmp_path / "run"


def nats(module, text):
    """Of each symbol but the first, read from end to end."""
    ids = torch.tensor([[SYMBOLS.index(s) for s in text]])
    with torch.no_grad():
        return nn.functional.cross_entropy(module(ids[:, :-1])[0][0], ids[0, 1:]).item()


def test_an_imported_run_generates_and_is_evaluated(imported, text_file):
    module, run = imported
    done = invoke("generate", run, "--prompt", "the ", "--length", "20", "--seed", "1")
    assert done.exit_code == 0 and done.stdout.startswith("the "), done.output
    assert set(done.stdout[4:].rstrip("\n")) <= set(SYMBOLS)
    done = invoke("evaluate", run, text_file, "--streams", "1")
    assert done.exit_code == 0, done.output
    found = float(done.stdout.split("loss")[1].split()[0])
    assert found == pytest.approx(nats(module, text_file.read_text()), abs=2e-4)
    done = invoke("evaluate", run)
    assert done.exit_code == 2 and "has no text: name a TEXT to evaluate on" in done.stderr
    assert invoke("inspect", run, text_file).exit_code == 0
    assert repr(tr.Run(run)) and tr.Run(run).log == []


def test_an_imported_run_is_trained_on(imported, text_file, tmp_path):
    module, run = imported
    expected = nats(module, text_file.read_text()[-260:])
    done = invoke("train", "--resume", run)
    assert (
        done.exit_code == 2
        and f"has no data yet: name some: tinyrnn train DATA --resume {run}" in done.stderr
    )
    settings = ["--seq-len", "20", "--steps", "4", "--eval-every", "2"]
    (tmp_path / "other.txt").write_text(text_file.read_text() + "Zebras!" * 20)  # with symbols that are new
    done = invoke("train", tmp_path / "other.txt", "--from", run, "--out", tmp_path / "on", *settings)
    assert done.exit_code == 0, done.output
    assert len(tr.load(tmp_path / "on").vocabulary) == len(SYMBOLS) + 2
    done = invoke("train", text_file, "--resume", run, "--steps", "4", "--eval-every", "2")
    assert done.exit_code == 0, done.output
    first, *_, last = tr.Run(run).log
    assert first["step"] == 0 and first["val_loss"] == pytest.approx(expected, rel=0.02)
    assert last["step"] == 4 and last["val_loss"] < first["val_loss"]
    done = invoke("train", "--resume", run, "--steps", "6")  # by now it is a run like others
    assert done.exit_code == 0, done.output
    assert tr.Run(run).log[-1]["step"] == 6 and invoke("evaluate", run).exit_code == 0


def test_a_run_of_a_model_from_python(tmp_path, text_file):
    model = tr.from_torch(Net("LSTM", tied=True, dropout=0.1), symbols=SYMBOLS)
    run = tr.Run.of(model, tmp_path / "run")
    assert run.generate("the", seed=0) == model.generate("the", seed=0)
    assert run.evaluate(text_file)["tokens"] > 0
    with pytest.raises(tr.InputError, match="exists and is never overwritten"):
        tr.Run.of(model, tmp_path / "run")
    with pytest.raises(tr.InputError, match="a Linear is no model of a task"):
        tr.Run.of(tr.Linear(2, 3), tmp_path / "other")
    with torch.no_grad():
        (lost := Net()).head.bias[3] = float("nan")
    with pytest.raises(tr.InputError, match="the weight 'output.bias' holds NaN"):
        tr.Run.of(tr.from_torch(lost, symbols=SYMBOLS), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    on = tr.train(text_file, from_run=run, steps=2, seq_len=20, out=tmp_path / "on", quiet=True)
    assert on.options["tie"] and on.options["hidden"] == 6 and on.options["dropout"] == 0.1


def test_import_says_what_it_cannot_read(imported, tmp_path):
    file, out = tmp_path / "net.safetensors", tmp_path / "new"
    text = tmp_path / "symbols.txt"
    text.write_text("".join(SYMBOLS))
    assert invoke("import", file, "--symbols", text, "--out", out).exit_code == 0
    assert tr.load(out).vocabulary.symbols == SYMBOLS
    text.write_text("abc")
    (tmp_path / "bad.json").write_text("[")
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(["<unk>", "<eos>", *(f"w{i}" for i in range(29))]) + "\n")
    done = invoke("import", file, "--symbols", lines, "--level", "token", "--out", tmp_path / "words")
    assert done.exit_code == 0 and "unknown: '<unk>'" in done.stderr
    for options, said in (
        (["--symbols", text, "--out", tmp_path / "x"], "there are 3 symbols, but the network has 31"),
        (["--symbols", text, "--out", out], "exists and is never overwritten"),
        (["--symbols", tmp_path / "bad.json", "--out", tmp_path / "x"], "bad.json cannot be read"),
        (["--level", "byte", "--out", tmp_path / "x"], "there are 256 symbols, but the network has 31"),
        (["--out", tmp_path / "x"], "name the symbols that it was trained with"),
    ):
        done = invoke("import", file, *options)
        assert done.exit_code == 2 and said in done.stderr, done.output
