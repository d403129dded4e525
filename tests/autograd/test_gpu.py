"""CUDA code is generated from the same rules as the loops for the CPU: it must compile, also where there is
no GPU.
"""

import shutil
import subprocess

import pytest

from tinyrnn.autograd.pointwise import FUSED
from tinyrnn.autograd.tape import TABLE
from tinyrnn.kernels import random, scatter, updates
from tinyrnn.kernels.pointwise import CUDA_PRELUDE, cuda_rule

nvcc = shutil.which("nvcc")


@pytest.mark.skipif(nvcc is None, reason="needs nvcc")
def test_the_other_kernels_compile_as_cuda(tmp_path, standin):
    import numpy as np

    x = standin.asarray(np.ones(3, np.float32))
    random.dropout(x, 0.5, 1)
    scatter.add_rows(x.reshape(3, 1), np.zeros(3, np.int64), 1)
    for rule in ("sgd", "rmsprop", "adagrad", "adam"):
        updates.cuda(standin, rule)
    names = [f"tinyrnn_{n}" for n in ("dropout", "add_rows", "sgd", "rmsprop", "adagrad", "adam")]
    texts = ["#include <cstddef>"]
    for name in names:
        for T in ("float32", "float64"):
            source = standin._kernels.made[name].source({"T": T}, "", f"__global__ void {name}_{T}")
            texts.append(f"namespace {name}_{T}_ {{ {source} }}")
    source = tmp_path / "kernels.cu"
    source.write_text("\n".join(texts))
    done = subprocess.run(
        [nvcc, "-ptx", "-o", tmp_path / "kernels.ptx", source], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kernels.ptx").read_text().count(".entry") == 2 * len(names)


@pytest.mark.skipif(nvcc is None, reason="needs nvcc")
def test_every_rule_compiles_as_cuda(tmp_path):
    rules = [(op.name, op.inputs, op.rule) for op in TABLE.values() if op.rule]
    rules += [(f"grad_{i}_of_{name}", inputs, rule) for i, ((name, rule), inputs) in enumerate(FUSED.items())]
    kernels = []
    for name, inputs, rule in rules:
        for T in ("float", "double"):
            arguments = "".join(f"const {T} *{a}_, " for a in inputs)
            loads = " ".join(f"T {a} = {a}_[i];" for a in inputs)
            kernels.append(
                f"__global__ void tinyrnn_{name}_{T}({arguments}{T} *out) {{ typedef {T} T; "
                f"int i = blockIdx.x * blockDim.x + threadIdx.x; {loads} out[i] = {cuda_rule(rule)}; }}"
            )
    source = tmp_path / "rules.cu"
    source.write_text(CUDA_PRELUDE + "\n".join(kernels))
    done = subprocess.run(
        [nvcc, "-ptx", "-o", tmp_path / "rules.ptx", source], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rules.ptx").read_text().count(".entry") == len(kernels) > 120
