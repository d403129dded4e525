"""Modules: what they print, and their weights in files."""

import numpy as np
import pytest

import tinyrnn as tr


class Net(tr.Module):
    def __init__(self, hidden=4, seed=0):
        g = tr.Generator(seed)
        self.embed = tr.Embedding(7, 3, generator=g)
        self.rnn = tr.RNN("lstm", 3, hidden, generator=g)
        self.out = tr.Linear(hidden, 7, generator=g)
        self.heads = {"a": tr.Linear(hidden, 2, generator=g), "shared": self.out}
        self.scale = tr.ones(2, requires_grad=True)


def test_what_a_model_prints():
    assert repr(tr.Linear(3, 4)) == "Linear(weight [3, 4], bias [4]): 16 parameters"
    assert repr(tr.Dropout(0.5)) == "Dropout(): 0 parameters"
    net = Net()
    expected = """Net(
  scale [2]
  (embed): Embedding(weight [7, 3]): 21 parameters
  (rnn): RNN(
    (cells.0): LSTM(W [3, 16], U [4, 16], b [16]): 128 parameters
    (dropout): Dropout(): 0 parameters
    (regulariser): Regulariser(): 0 parameters
  ): 128 parameters
  (out): Linear(weight [4, 7], bias [7]): 35 parameters
  (heads.a): Linear(weight [4, 2], bias [2]): 10 parameters
  (heads.shared): Linear(weight [4, 7], bias [7]): 35 parameters
): 196 parameters"""
    assert repr(net) == expected
    assert sum(p.size for p in net.parameters()) == 196  # what two places share counts once


def test_weights_come_back_from_a_file(tmp_path):
    net, other = Net(seed=1), Net(seed=2)
    net.save(tmp_path / "net.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
    assert other.load_weights(str(tmp_path / "net.safetensors")) is other
    for (name, a), (same, b) in zip(net.named_parameters(), other.named_parameters(), strict=True):
        assert name == same and a.dtype == b.dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_matrix_in_fortran_order_is_saved_as_it_reads(tmp_path):
    net = tr.Linear(3, 4)
    net.weight.data = np.asfortranarray(net.weight.data)
    net.save(tmp_path / "w")
    np.testing.assert_array_equal(
        tr.Linear(3, 4).load_weights(tmp_path / "w").weight.numpy(), net.weight.numpy()
    )


def test_weights_of_another_model_are_refused(tmp_path):
    path, net = tmp_path / "w", Net()
    tr.Linear(4, 7).save(path)
    before = net.state_dict()
    with pytest.raises(tr.InputError, match=r"another model: .* stand on one side only"):
        net.load_weights(path)
    Net(hidden=5).save(path)
    with pytest.raises(tr.InputError, match=r"weight rnn\.cells\.0\.W is \[3, 20\] in the file, \[3, 16\]"):
        net.load_weights(path)
    for name, values in net.state_dict().items():
        np.testing.assert_array_equal(values, before[name])


def test_files_that_are_none(tmp_path):
    with pytest.raises(tr.InputError, match="cannot be read"):
        Net().load_weights(tmp_path / "nothing")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(tr.InputError, match="cannot be read"):
        Net().load_weights(tmp_path / "text")
    with pytest.raises(tr.InputError, match="cannot be written"):
        Net().save(tmp_path / "no folder" / "w")
    (tmp_path / "w").write_bytes(b"old")
    with pytest.raises(tr.InputError):
        Net().load_weights(tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == b"old"


def test_the_schedule_is_a_cosine():
    at = tr.optim.Schedule("cosine", total=100).at
    for u, factor in ((0, 1), (0.25, 0.8535533905932737), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (1, 0)):
        assert at(10, u) == pytest.approx(factor, abs=1e-15)


def test_saving_replaces_weights_and_nothing_else(tmp_path):
    path, other, empty = tmp_path / "w.safetensors", tmp_path / "keep.txt", tmp_path / "empty"
    other.write_text("what is to be kept")
    empty.touch()
    with pytest.raises(tr.InputError, match="keep.txt is no file of weights, and is not replaced"):
        tr.Linear(3, 4).save(other)
    assert other.read_text() == "what is to be kept"
    for target in (path, path, empty):
        layer = tr.Linear(3, 4)
        layer.save(target)
        assert (tr.Linear(3, 4).load_weights(target).weight.numpy() == layer.weight.numpy()).all()
