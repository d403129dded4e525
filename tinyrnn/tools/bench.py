"""Speed: of any cell, forward, in a training step and in generation, beside PyTorch's layers.

Each contender runs in a process of its own, so that neither memory settings nor waiting threads of one touch
another. They
take turns, and medians are compared: a noisy moment hits all of them alike.
"""

import multiprocessing
import statistics
import time
from dataclasses import dataclass, replace

import numpy as np

from ..autograd import no_grad
from ..base import threads
from ..base.devices import array_module, to_device
from ..base.errors import InputError
from ..compiler.report import report_cell
from ..kernels.generator import Generator
from ..nn.optim import Adam
from ..nn.registry import get_cell
from ..tasks.lm.task import LanguageModel
from ..tasks.text.vocabulary import Characters

WHAT = ("forward", "train", "generate")
DTYPES = ("float32", "bfloat16")
TORCH = {"float32": ("float32",), "bfloat16": ("bfloat16", "autocast")}  # what PyTorch has for each
GENERATING = {"float32": ("float32",), "bfloat16": (), "int8": ("int8",)}  # the same of trained weights
TOKENS = 500  # that one run of "generate" writes
PAUSE = 0.1  # seconds between turns: the threads of BLAS and OpenMP go on spinning when their work is done


@dataclass(frozen=True)
class Workload:
    """A character model: embedding, recurrent layers, softmax, Adam with clipping."""

    cell: object = "lstm"  # a registered name, or a Cell
    cell_options: tuple = ()  # pairs
    hidden: int = 256
    layers: int = 1
    embed: int = 128
    vocabulary: int = 65
    batch: int = 64
    length: int = 50
    threads: int | None = None
    device: str = "cpu"
    dtype: str = "float32"  # one of `DTYPES` or, in generation, "int8"; of PyTorch also "autocast"

    def tokens(self, what) -> int:
        """Tokens of one run."""
        return TOKENS if what == "generate" else self.batch * self.length

    def ids(self):
        """Inputs and targets, int64 ``[length, batch]``."""
        return np.random.default_rng(0).integers(0, self.vocabulary, (2, self.length, self.batch))

    def flops(self, what) -> int | None:
        """Of all matrix products of one run, but for those that a table of the tokens replaces; None where
        unknown.
        """
        cell = get_cell(self.cell) if isinstance(self.cell, str) else self.cell
        total = 2 * self.hidden * self.vocabulary
        for layer in range(self.layers):
            size = self.hidden if layer else self.embed
            found = report_cell(cell(size, self.hidden, generator=Generator(0), **dict(self.cell_options)))
            if found.products is None:
                return None
            total += found.products[0] + (found.products[1] if layer else 0)
        return total * self.tokens(what) * (3 if what == "train" else 1)


def ours(work: Workload, what):
    """A function that runs ``what`` (one of `WHAT`) once."""
    if work.threads:
        threads.set_threads(work.threads)
    vocabulary = Characters([chr(0x4E00 + i) for i in range(work.vocabulary)])
    sizes = dict(hidden=work.hidden, layers=work.layers, embed=work.embed)
    sizes["dtype"] = work.dtype if what != "generate" else "float32"
    model = LanguageModel(vocabulary, cell=work.cell, cell_options=dict(work.cell_options), **sizes)
    inputs, targets = work.ids()
    optimizer = Adam(model.to(work.device).parameters())

    def forward():
        with no_grad():
            return model.cost(inputs, targets)[0].item()

    def train():
        optimizer.zero_grad()
        loss, _ = model.cost(inputs, targets)
        loss.backward()
        optimizer.step(max_norm=5.0)
        model.apply_constraints()
        return loss.item()

    def generate():
        return len(model.generate(length=TOKENS, temperature=1.0, seed=0, weights=work.dtype))

    return {"forward": forward, "train": train, "generate": generate}[what]


def torch_layers(work: Workload, what):
    """The same with PyTorch's nn.LSTM, nn.GRU or nn.RNN (nn.LSTM for any other cell)."""
    import torch

    if work.threads:
        torch.set_num_threads(work.threads)
    kind = {"gru": torch.nn.GRU, "rnn": torch.nn.RNN}.get(work.cell, torch.nn.LSTM)
    embedding = torch.nn.Embedding(work.vocabulary, work.embed)
    rnn = kind(work.embed, work.hidden, work.layers)
    return torch_steps(
        torch.nn.ModuleList([embedding, rnn, torch.nn.Linear(work.hidden, work.vocabulary)]), work, what
    )


def torch_steps(model, work: Workload, what):
    """``what`` for a list of PyTorch's modules: embedding, recurrent part, output."""
    import torch

    if work.dtype == "int8":
        kinds = {type(module) for module in model} - {torch.nn.Embedding}
        model = torch.ao.quantization.quantize_dynamic(model.eval(), kinds, dtype=torch.qint8)
    dtype = torch.bfloat16 if work.dtype == "bfloat16" else torch.float32
    embedding, rnn, output = model.to(work.device, dtype)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters) if what == "train" else None
    inputs, targets = torch.from_numpy(work.ids()).to(work.device)

    def loss():
        with torch.autocast(work.device, torch.bfloat16, enabled=work.dtype == "autocast"):
            logits = output(rnn(embedding(inputs))[0]).flatten(0, 1)
        return torch.nn.functional.cross_entropy(logits.float(), targets.flatten())

    def forward():
        with torch.no_grad():
            return loss().item()

    def train():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        return value.item()

    def generate():
        with torch.no_grad():
            token, state = torch.zeros(1, 1, dtype=torch.long, device=work.device), None
            for _ in range(TOKENS):
                y, state = rnn(embedding(token), state)
                token = torch.multinomial(torch.softmax(output(y)[0], -1), 1)
        return TOKENS

    return {"forward": forward, "train": train, "generate": generate}[what]


def gemm_peak(n=1024, device="cpu"):
    """A function that multiplies two float32 matrices ``[n, n]`` with NumPy or CuPy, twice."""
    a, b = np.random.default_rng(0).standard_normal((2, n, n)).astype(np.float32)
    a, b = to_device(a, device), to_device(b, device)
    xp = array_module(a)
    c = xp.empty_like(a)

    def run():
        xp.matmul(a, b, out=c)
        xp.matmul(a, b, out=c)
        if device == "cuda":
            xp.cuda.Device().synchronize()

    return run


def peak_flops(n=1024) -> int:
    """Operations of one run of `gemm_peak`."""
    return 4 * n**3


def _serve(pipe, make, arguments):
    """Runs in a process of its own: on each request the median seconds of a few runs."""
    try:
        run = make(*arguments)
        run()
        pipe.send(None)
        while pipe.recv():
            run()  # what ran before, elsewhere, left cold caches
            times = []
            while len(times) < 3 or (sum(times) < 0.1 and len(times) < 25):
                began = time.perf_counter()
                run()
                times.append(time.perf_counter() - began)
            pipe.send(statistics.median(times))
    except Exception as error:  # shown by the process that asked
        pipe.send(f"{type(error).__name__}: {error}")


def seconds(jobs, rounds=7, may_fail=()) -> list:
    """Median seconds of each of ``jobs``, pairs (make, arguments) where ``make(*arguments)()`` is one run,
    taken in turns; None for a contender among ``may_fail`` (numbers of jobs) that cannot run.

    Raises:
        InputError: another contender cannot run.
    """
    context, workers = multiprocessing.get_context("spawn"), []
    times: list = [[] for _ in jobs]

    def failed(i, problem):
        if i not in may_fail:
            raise InputError(f"{jobs[i][0].__name__} cannot run: {problem}")
        times[i] = None

    try:
        for make, arguments in jobs:
            pipe, other = context.Pipe()
            process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
            process.start()
            workers.append((process, pipe))
            if problem := pipe.recv():
                failed(len(workers) - 1, problem)
        for k in range(rounds):
            for i in [*range(k % len(jobs), len(jobs)), *range(k % len(jobs))]:
                if times[i] is None:
                    continue
                time.sleep(PAUSE)
                workers[i][1].send(True)
                answer = workers[i][1].recv()
                if isinstance(answer, str):
                    failed(i, answer)
                else:
                    times[i].append(answer)
    finally:
        for process, _ in workers:
            process.terminate()
    return [t and statistics.median(t) for t in times]


def bench(work: Workload, *, dtypes=DTYPES, against_torch=False, rounds=7) -> dict:
    """``{"peak": float32 GEMM flops a second, "rows": one dict for each of `WHAT` and ``dtypes``}`` with
    tokens a second of each contender.

    ``fraction`` is the part of the machine's float32 GEMM peak that the products of the equations make up;
    ``torch`` what PyTorch has beside it (`TORCH`), None where that cannot run here.
    """
    size = 1024 if work.device == "cpu" else 8192  # a GPU is not busy with less
    jobs, rows, others = [(gemm_peak, (size, work.device))], [], []
    for what in WHAT:
        known, wanted = TORCH, dtypes
        if what == "generate":  # weights in fewer bits are for a CPU
            known, wanted = GENERATING, GENERATING if work.device == "cpu" and len(dtypes) > 1 else dtypes[:1]
        for dtype in wanted:
            peers = [name for name in known[dtype] if against_torch]
            jobs.append((ours, (replace(work, dtype=dtype), what)))
            others += range(len(jobs), len(jobs) + len(peers))
            jobs += [(torch_layers, (replace(work, dtype=name), what)) for name in peers]
            rows.append({"what": what, "dtype": dtype, "torch": peers})
    peak_seconds, *found = seconds(jobs, rounds, others)
    peak, times = peak_flops(size) / peak_seconds, iter(found)
    for row in rows:
        own, tokens, flops = next(times), work.tokens(row["what"]), work.flops(row["what"])
        row |= {"tinyrnn": tokens / own, "ms": 1e3 * own}
        row["fraction"] = flops / own / peak if flops and row["what"] != "generate" else None
        row["torch"] = {name: t and tokens / t for name, t in zip(row["torch"], times, strict=False)}
    return {"peak": peak, "rows": rows}
