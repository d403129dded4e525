"""Devices: how arrays come to a GPU and back, that they do not mix in silence, and what is said where there
is none.
"""

import copy
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest

import tinyrnn as tr
from tinyrnn.autograd.tape import TABLE, apply
from tinyrnn.base import devices
from tinyrnn.base.errors import DeviceError, InputError, OutOfRangeError


def cuda(*values, **options):
    return tr.tensor(np.array(values), device="cuda", **options)


def test_there_and_back(cupy):
    x = tr.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    assert x.device == "cuda" and isinstance(x.data, cupy.ndarray) and "device='cuda'" in repr(x)
    assert isinstance(x.numpy(), np.ndarray) and x.tolist() == [1.0, 2.0] and x.sum().item() == 3.0
    y = (x * 2).to("cpu")
    assert y.device == "cpu"
    (y * tr.tensor([3.0, 4.0])).sum().backward()
    assert x.grad.device == "cuda" and x.grad.tolist() == [6.0, 8.0]
    assert x.to("cuda") is x and tr.asarray(np.ones(2), device="cuda").device == "cuda"
    assert tr.tensor(x.detach(), device="cpu").device == "cpu" and tr.tensor(x.detach()).device == "cuda"
    assert pickle.loads(pickle.dumps(x)).device == "cuda" and copy.deepcopy(x).device == "cuda"
    np.testing.assert_array_equal(np.asarray(x.detach()), [1, 2])
    with pytest.raises(tr.InputError, match="'gpu'"):
        x.to("gpu")


@pytest.mark.parametrize("name", "zeros ones full arange linspace eye rand randn randint zeros_like".split())
def test_creation(name, cupy):
    made = {
        "full": lambda **o: tr.full((2,), 3.5, **o),
        "arange": lambda **o: tr.arange(3, **o),
        "linspace": lambda **o: tr.linspace(0, 1, 5, **o),
        "eye": lambda **o: tr.eye(3, **o),
        "rand": lambda **o: tr.rand((3,), generator=tr.Generator(0), **o),
        "randn": lambda **o: tr.randn((3,), generator=tr.Generator(0), **o),
        "randint": lambda **o: tr.randint(0, 9, (3,), generator=tr.Generator(0), **o),
        "zeros_like": lambda **o: tr.zeros_like(tr.ones(2, **o)),
    }.get(name, lambda **o: getattr(tr, name)((2, 3), **o))
    ours, cpu = made(device="cuda"), made()
    assert ours.device == "cuda" and ours.dtype == cpu.dtype
    np.testing.assert_array_equal(ours.numpy(), cpu.numpy())


# Two operands of one shape; the other arguments are numbers, indices or masks, which belong to no device.
PAIRS = {name for name, op in TABLE.items() if len(op.inputs) == 2} - {"cross_entropy_grad"}


@pytest.mark.parametrize("name", sorted(PAIRS | {"where", "clip", "concat", "stack", "einsum"}))
@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_devices_do_not_mix(name, first, cupy):
    a, b = tr.ones((2, 2), device=first), tr.ones((2, 2), device="cuda" if first == "cpu" else "cpu")
    if name.startswith("logical"):
        a, b = a > 0, b > 0
    calls = {
        "where": lambda: tr.where(np.ones((2, 2), bool), a, b),
        "clip": lambda: tr.clip(a, b, 2.0),
        "concat": lambda: tr.concat([a, b]),
        "stack": lambda: tr.stack([a, b]),
        "einsum": lambda: tr.einsum("ij,jk->ik", a, b),
    }
    with pytest.raises(DeviceError, match="cuda"):
        calls.get(name, lambda: apply(TABLE[name], a, b))()


@pytest.mark.parametrize("other", [np.ones(2), [1.0, 2.0], tr.ones(2)], ids=["array", "list", "tensor"])
def test_nor_do_arrays_of_numpy(other, cupy):
    x = cuda(1.0, 2.0)
    for f in (lambda: x + other, lambda: other * x, lambda: tr.sigmoid(x) @ other, lambda: x < other):
        with pytest.raises(DeviceError):
            f()
    with pytest.raises(DeviceError):
        x += other
    with pytest.raises(DeviceError):
        cuda(1.0, 2.0, requires_grad=True).backward(other)
    with pytest.raises(DeviceError, match="stack"):
        tr.tensor([x.data[0], x.data[1]])


def test_numbers_do_mix(cupy):
    functions = (
        lambda x, n: x * n,
        lambda x, n: n - x,
        lambda x, n: tr.where(x > 1, x, n),
        lambda x, n: x**n,
    )
    for number in (2, 2.0, np.float32(2), np.float64(2), np.int64(2), True):
        for f in functions:
            found = []
            for device in ("cuda", "cpu"):
                x = tr.tensor([1.0, 2.0], "float32", device=device, requires_grad=True)
                y = f(x, number)
                y.sum().backward()
                assert y.device == x.grad.device == device
                found.append((y.detach().numpy(), x.grad.numpy()))
            for ours, cpu in zip(*found, strict=True):
                assert ours.dtype == cpu.dtype
                np.testing.assert_allclose(ours, cpu, rtol=1e-6)


def test_indices_and_masks_are_taken_from_either_device(cupy):
    x, ids, mask = np.arange(12.0).reshape(3, 4), np.array([2, 0, 2]), np.arange(12).reshape(3, 4) % 2 == 0
    t = tr.tensor(x, device="cuda")
    for place in ("cpu", "cuda"):
        i, m = tr.tensor(ids, device=place), tr.tensor(mask, device=place)
        np.testing.assert_array_equal(t[i].numpy(), x[ids])
        np.testing.assert_array_equal(t[:, i].numpy(), x[:, ids])
        np.testing.assert_array_equal(t[m].numpy(), x[mask])
        np.testing.assert_array_equal(t[m[:, 0], i].numpy(), x[mask[:, 0], ids])
        np.testing.assert_array_equal(tr.take(t, i, axis=1).numpy(), x[:, ids])
        np.testing.assert_array_equal(tr.embedding(i, t).numpy(), x[ids])
        np.testing.assert_allclose(tr.cross_entropy(t, i).item(), tr.cross_entropy(x, ids).item())
        for loss in (tr.cross_entropy, tr.nll_loss):
            ours, cpu = loss(t, i, ignore_index=0), loss(x, ids, ignore_index=0)
            np.testing.assert_allclose(ours.item(), cpu.item())
    np.testing.assert_array_equal(tr.tensor(x)[tr.tensor(ids, device="cuda")].numpy(), x[ids])
    for bad in (np.array([3]), np.array([-4]), [0, 5]):
        with pytest.raises(OutOfRangeError, match="out of bounds"):
            t[bad]
    with pytest.raises(OutOfRangeError, match="out of bounds"):
        t[tr.tensor([3], device="cuda")]
    with pytest.raises(tr.InputError, match="rows 0 to 2"):
        tr.embedding(tr.tensor([3], device="cuda"), t)


class Foreign:
    """An array of another library on a GPU."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return 2, 0


def test_dlpack_shares_memory(cupy):
    array = cupy.asarray(np.array([1.0, 2.0, 3.0]))
    t = tr.from_dlpack(Foreign(array))
    array[0] = 7.0
    assert t.device == "cuda" and t.tolist() == [7.0, 2.0, 3.0]
    back = cupy.from_dlpack(t)
    array[1] = 8.0
    assert back.tolist() == [7.0, 8.0, 3.0] and t.__dlpack_device__()[0] == 2
    t.requires_grad = True
    with pytest.raises(tr.GradientError, match="detach"):
        (t * 2).__dlpack__()


def test_pytorch_on_a_gpu(cupy, monkeypatch):
    """PyTorch with a device that is made up: what it is given is the memory itself."""

    class FakeTensor(Foreign):
        requires_grad = False

        def detach(self):
            return self

    FakeTensor.__module__ = "torch"
    torch = types.ModuleType("torch")
    torch.from_dlpack = lambda x: FakeTensor(cupy.from_dlpack(x))
    monkeypatch.setitem(sys.modules, "torch", torch)
    array = cupy.asarray(np.array([1.0, 2.0]))
    t = tr.from_torch(FakeTensor(array))
    there = tr.to_torch(t)
    array[...] = 5.0
    assert t.device == "cuda" and t.tolist() == [5.0, 5.0] and there.array.tolist() == [5.0, 5.0]


@pytest.mark.parity
def test_pytorch_on_the_cpu():
    torch = pytest.importorskip("torch")
    theirs = torch.tensor([1.0, 2.0])
    t = tr.from_torch(theirs)
    back = tr.to_torch(t)
    theirs[0] = 5.0
    assert t.tolist() == [5.0, 2.0] and back.tolist() == [5.0, 2.0] and back.data_ptr() == theirs.data_ptr()
    with pytest.raises(tr.InputError, match="detach"):
        tr.from_torch(torch.ones(2, requires_grad=True))
    with pytest.raises(tr.InputError, match="no tensor of PyTorch"):
        tr.from_torch(np.ones(2))
    with pytest.raises(tr.GradientError, match="detach"):
        tr.to_torch(tr.tensor([1.0], requires_grad=True))


# ------------------------------------------------------------------ what is missing, and what to install


def missing(monkeypatch, standin, error, **facts):
    """What is said where a trivial kernel fails with ``error``."""

    def fails(cupy):
        raise error

    monkeypatch.setattr(devices, "_working", [])
    monkeypatch.setattr(devices, "try_kernel", fails)
    for name, value in facts.items():
        monkeypatch.setitem(standin.cuda.runtime.facts, name, value)
    with pytest.raises(tr.InputError) as raised:
        tr.tensor([1.0], device="cuda")
    assert devices.cuda_status() == str(raised.value)  # what `tinyrnn doctor` prints
    return str(raised.value)


def test_it_says_what_is_missing(monkeypatch, standin):
    runtime = standin.cuda.runtime.CUDARuntimeError
    said = missing(monkeypatch, standin, runtime("cudaErrorInsufficientDriver"), driver=0)
    assert "no NVIDIA driver" in said
    said = missing(monkeypatch, standin, runtime("cudaErrorInsufficientDriver"), driver=12040)
    assert "CuPy 14.2.0 is for CUDA 13" in said and "for CUDA 12.4" in said and "tinyrnn[cuda12]" in said
    said = missing(monkeypatch, standin, runtime("insufficient"), driver=11080)
    assert "install a driver for CUDA 12" in said
    none = runtime("cudaErrorNoDevice: no CUDA-capable device")
    said = missing(monkeypatch, standin, none, driver=13000, devices=0)
    assert "finds no GPU" in said and "cudaErrorNoDevice" in said
    said = missing(monkeypatch, standin, RuntimeError("libnvrtc.so.13 cannot be loaded"), devices=1)
    assert "library or header of CUDA is missing" in said and "cupy-cuda13x[ctk]" in said
    header = standin.cuda.compiler.CompileException("cannot open source file x.h", "")
    said = missing(monkeypatch, standin, header)
    assert "library or header" in said
    said = missing(monkeypatch, standin, ValueError("something else"))
    assert "cannot run a kernel (ValueError: something else)" in said


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # what `import` then raises is an ImportError
    with pytest.raises(tr.InputError, match=r"needs CuPy.*pip install 'tinyrnn\[cuda1"):
        tr.tensor([1.0], device="cuda")
    assert "needs CuPy" in devices.cuda_status()


def test_a_working_gpu_is_described(cupy):
    said = devices.cuda_status()
    assert said.startswith(f"CuPy {cupy.__version__}") and "GiB free" in said and "driver for" in said


def test_the_trivial_kernel_runs_once_in_a_process(cupy, monkeypatch):
    monkeypatch.setattr(devices, "_working", [])
    tried = []
    monkeypatch.setattr(devices, "try_kernel", tried.append)
    for _ in range(3):
        tr.tensor([1.0], device="cuda")
    assert tried == [cupy]


def test_the_cpu_imports_no_cupy():
    script = "import sys, tinyrnn as tr; tr.tanh(tr.ones(3)); assert 'cupy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_only_has_the_name_of_cupy_is_no_cupy(monkeypatch, tmp_path):
    """As a folder of that name where one works, which Python imports."""
    (tmp_path / "cupy").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(devices, "_working", [])
    for use in (devices.require_cupy, devices.chosen):
        with pytest.raises(InputError, match=r"needs CuPy, and .*cupy has its name: rename that"):
            use("cuda")
    assert "has its name" in devices.cuda_status() and devices.chosen("auto") == "cpu"
    assert "cupy" in sys.modules and float((tr.tensor([1.0]) + 1).sum()) == 2  # and nothing else minds
    monkeypatch.delitem(sys.modules, "cupy")
