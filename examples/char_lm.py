"""A character language model, with the training loop written out. Run: python examples/char_lm.py [TEXT]
[STEPS]

Everything that `tinyrnn train` does around this loop (files, checkpoints, schedules) is left out: what
remains is the lesson.
"""

import sys
from pathlib import Path

import numpy as np

import tinyrnn as tr

files = [Path(sys.argv[1])] if len(sys.argv) > 1 else sorted(Path(tr.__file__).parent.glob("*.py"))
text = "".join(file.read_text(encoding="utf-8") for file in files)  # by default: tinyrnn's own source
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 300
B, T, H = 16, 50, 128  # streams side by side, steps that gradients flow back, width

# 1. Text to ids: the vocabulary is the sorted set of characters.
symbols = sorted(set(text))
ids = np.array([symbols.index(c) for c in text])
streams = (
    ids[: len(ids) // B * B].reshape(B, -1).T
)  # [time, B]: each column is one contiguous piece of the text

# 2. The model: id -> vector -> GRU -> a score for each possible next character.
embedding = tr.Embedding(len(symbols), 32)
rnn = tr.RNN("gru", 32, H, seed=1)
output = tr.Linear(H, len(symbols))
parameters = [p for layer in (embedding, rnn, output) for p in layer.parameters()]
optimizer = tr.optim.Adam(parameters, lr=3e-3)

# 3. Truncated back-propagation through time: gradients stop at the window's border, the state goes on.
states, t = None, 0
for step in range(steps):
    if t + T >= len(streams):
        states, t = None, 0  # a new pass over the text
    inputs, targets = streams[t : t + T], streams[t + 1 : t + T + 1]
    t += T
    ys, states = rnn(embedding(inputs), states)
    states = [tuple(s.detach() for s in layer) for layer in states]
    loss = tr.cross_entropy(output(ys), targets)
    optimizer.zero_grad()
    loss.backward()
    tr.clip_grad_norm(parameters, 1.0)
    optimizer.step()
    if step % 50 == 0 or step == steps - 1:
        print(f"step {step:4}  loss {loss.item():.3f} nats a character")

# 4. Let it write: feed back what was drawn from the softmax of the scores.
rng, i, written, states = np.random.default_rng(0), int(ids[0]), [], None
with tr.no_grad():
    for _ in range(200):
        ys, states = rnn(embedding(np.array([[i]])), states)
        p = tr.softmax(output(ys) / 0.7).numpy()[0, 0].astype(float)
        i = rng.choice(len(symbols), p=p / p.sum())
        written.append(symbols[i])
print("".join(written))
