"""Looking inside a trained language model: its units over a text, its gates, and how far gradients reach
back.
"""

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np

from ..autograd import log_softmax, tensor
from ..base.errors import InputError
from ..nn.functional import cross_entropy
from ..nn.gates import gate_names, step_and_gates
from ..tasks.lm.sampling import encode_prompt

_PAGE = Path(__file__).parent / "templates" / "inspect.html"


def look(model, text: str, *, flow_steps=100) -> dict:
    """What happens inside a language model while it reads ``text``.

    Args:
        flow_steps: so many of the last steps are walked back for the gradients.

    Returns:
        ``symbols`` (T strings), ``surprise`` ``[T - 1]`` (nats, of each symbol given those before), and each
        of ``layers``: ``outputs`` ``[T, H]``; ``gates``, for each sigmoid in the cell's equations, in their
        order, its ``name`` (by `Cell.name_gates`, else its number), its ``mean`` ``[T]`` over the units and
        for each unit the part of the time it is nearly ``open`` and ``closed`` ``[H]`` (Karpathy, Johnson &
        Li 2015, section 4.3); ``flow``: the norm of the gradient of the last symbol's loss with respect to
        the layer's states, for each of the last steps, the oldest first.

    Raises:
        InputError: the text has fewer than two symbols that the model knows.
    """
    ids, _ = encode_prompt(model.vocabulary, text)
    if len(ids) < 2:
        raise InputError(
            "the text to look at needs at least two symbols that the model knows: give a longer one"
        )
    states, before = model.rnn.initial_state(1), []
    surprise, outputs, gates = [], [], []
    model.eval()
    for t, i in enumerate(ids):
        before.append(states)
        x = model.embedding(np.array([i])).detach()
        y, states, found = step_and_gates(model.rnn, x, states)
        outputs.append([layer[0].numpy()[0] for layer in states])
        gates.append([[gate[0] for gate in layer] for layer in found])
        if t + 1 < len(ids):
            surprise.append(-log_softmax(model.logits(y)).numpy()[0, ids[t + 1]])
    names = gate_names(model.rnn, model.embedding(np.array(ids[:1])).detach(), before[0])
    symbols = [model.vocabulary.decode([i]) for i in ids]
    first = max(0, len(ids) - 1 - flow_steps)
    flow = _flow(model, ids[first:], before[first])
    layers = []
    for n in range(len(states)):
        over_time = [
            np.stack(g) for g in zip(*[found[n] for found in gates], strict=True)
        ]  # of each gate [T, H]
        shown = [
            {
                "name": name or str(i),
                "mean": g.mean(axis=1),
                "open": (g > 0.9).mean(axis=0),
                "closed": (g < 0.1).mean(axis=0),
            }
            for i, (name, g) in enumerate(zip(names[n], over_time, strict=True), 1)
        ]
        layers.append({"outputs": np.stack([o[n] for o in outputs]), "gates": shown, "flow": flow[n]})
    return {"symbols": symbols, "surprise": np.array(surprise), "layers": layers}


def _flow(model, ids, states):
    """``[layers, steps]``: gradient norms, found by adding zeros to the states and asking for their
    gradients.
    """
    probes = []
    for i in ids[:-1]:
        y, states = model.rnn.step(model.embedding(np.array([i])), states)
        zeros = [[tensor(np.zeros(s.shape, s.dtype), requires_grad=True) for s in layer] for layer in states]
        probes.append(zeros)
        states = [
            tuple(s + z for s, z in zip(*pair, strict=True)) for pair in zip(states, zeros, strict=True)
        ]
        y = states[-1][0]
    cross_entropy(model.logits(y), ids[-1:]).backward()
    model.zero_grad()
    # The last states of the layers below the top one reach no output: their gradient is None.
    norms = [
        [sum(float((z.grad.numpy() ** 2).sum()) for z in layer if z.grad is not None) for layer in step]
        for step in probes
    ]
    return np.sqrt(np.array(norms)).T


def page(found: dict, title: str) -> str:
    """What `look` found as one HTML page that needs nothing else."""

    def packed(values):
        scale = float(np.abs(values).max()) or 1.0
        return {
            "scale": scale,
            "bytes": base64.b64encode(np.round(127 * values / scale).astype(np.int8).tobytes()).decode(),
        }

    layers = [
        {
            "size": layer["outputs"].shape[1],
            "outputs": packed(layer["outputs"]),
            "gates": [
                {k: v if k == "name" else np.round(v, 3).tolist() for k, v in gate.items()}
                for gate in layer["gates"]
            ],
            "flow": [float(f"{v:.3g}") for v in layer["flow"]],
        }
        for layer in found["layers"]
    ]
    data = {
        "title": title,
        "symbols": found["symbols"],
        "surprise": np.round(found["surprise"], 3).tolist(),
        "layers": layers,
    }
    html = _PAGE.read_text(encoding="utf-8")
    for tag in ("style", "script"):  # a browser runs these two and nothing else, whatever the text holds
        (own,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        html = html.replace(f"{{{{{tag}}}}}", f"'sha256-{digest}'")
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")  # neither </script> nor <!--<script>
    return html.replace("{{data}}", text)
