"""Spell spoken digits with a deep bidirectional LSTM and CTC. Run: python examples/spoken_digits.py FOLDER
[EPOCHS]

FOLDER holds recordings named DIGIT_SPEAKER_INDEX.wav, as in the Free Spoken Digit Dataset,
github.com/Jakobovski/free-spoken-digit-dataset. Those of indices 0 and 1 are held out for the test, all
others train. The network hears a word and writes its letters; it may write any letters, and nobody tells it
where in the audio they are.
"""

import sys
from pathlib import Path

import numpy as np

import tinyrnn as tr
from tinyrnn.tasks.batches import padded
from tinyrnn.tasks.classify.options import ClassifyOptions
from tinyrnn.tasks.signals.features import Features, varied
from tinyrnn.tasks.signals.reader import read_signals

epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 150
WORDS = "zero one two three four five six seven eight nine".split()
LETTERS = ["", *sorted(set("".join(WORDS)))]  # class 0 is the blank of CTC
BANDS, JOINED = 32, 2  # so many steps are heard at once: CTC then has fewer of them to choose from
PATTERN = "{digit}_{speaker}_{index}.wav"
rng = np.random.default_rng(0)


def stop(sentence):
    print(sentence, file=sys.stderr)
    sys.exit(2)


# 1. The recordings: equally loud for all, their high frequencies raised.
if len(sys.argv) < 2:
    stop("name a folder of DIGIT_SPEAKER_INDEX.wav: spoken_digits.py FOLDER")
try:
    given = read_signals([sys.argv[1]], ClassifyOptions(label_pattern=PATTERN))
except tr.InputError as error:
    stop(error)
if strange := set(given.fields["digit"]) - set("0123456789"):
    stop(f"a recording begins with {min(strange)}, which is no digit: rename it, or take it away")
held = [index in ("0", "1") for index in given.fields["index"]]
words = [WORDS[int(digit)] for digit in given.fields["digit"]]
test, train = (np.flatnonzero([h == kept for h in held]) for kept in (True, False))
if not len(train) or not len(test):
    stop("name a folder of recordings, some of index 0 or 1 and some of others: spoken_digits.py FOLDER")

# 2. What the network hears: the energy in bands that are equally wide to the ear, in decibels or so.
features = Features(given.channels, given.rates[0], BANDS, JOINED, deltas=False)
features = features.fitted([given.values[i] for i in train])


def heard(i):
    """The same word faster or slower, higher or lower, and with some noise."""
    return features(varied(given.values[i], rng, speed=0.15, noise=0.03))


def batch(sequences):
    """Features ``[T, B, JOINED * BANDS]``, padded with zeros, and the steps of each."""
    xs, mask = padded(sequences, (features.width,), np.float32)
    return xs, mask.sum(axis=0)


# 3. The model: a probability of each letter, or of none, at each step.
generator = tr.Generator(0)
rnn = tr.RNN("lstm", features.width, 96, num_layers=2, bidirectional=True, dropout=0.5, generator=generator)
output = tr.Linear(rnn.output_size, len(LETTERS), generator=generator)
parameters = [*rnn.parameters(), *output.parameters()]
optimizer = tr.optim.AdamW(parameters)


def predict(xs, lengths):
    """Log-probabilities ``[T, B, letters]``."""
    ys, _ = rnn(tr.tensor(xs), mask=np.arange(len(xs))[:, None] < lengths)
    return tr.log_softmax(output(ys))


def loss_of(words, log_probs, lengths, reduction="mean"):
    labels = [LETTERS.index(c) for word in words for c in word]  # one word after the other
    return tr.ctc_loss(log_probs, labels, lengths, [len(word) for word in words], reduction=reduction)


for epoch in range(epochs):
    losses = []
    for chosen in np.array_split(rng.permutation(train), -(-len(train) // 24)):
        xs, lengths = batch([heard(i) for i in chosen])
        loss = loss_of([words[i] for i in chosen], predict(xs, lengths), lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = 3e-3 * (1 - epoch / epochs)
        optimizer.step(max_norm=1.0)
        losses.append(loss.item())
    if epoch % 10 == 0 or epoch == epochs - 1:
        print(f"epoch {epoch:2}  loss {np.mean(losses):.3f} nats a letter", flush=True)

# 4. Listen to the recordings that were held out.
xs, lengths = batch([features(given.values[i]) for i in test])
with rnn.evaluating():
    log_probs = predict(xs, lengths)
    costs = [loss_of([w] * len(test), log_probs, lengths, "none").numpy() for w in WORDS]
greedy = ["".join(LETTERS[k] for k in labels) for labels in tr.ctc_greedy_decode(log_probs, lengths)]
beam = ["".join(LETTERS[k] for k in labels) for labels, _ in tr.ctc_beam_decode(log_probs, lengths)]
nearest = [WORDS[i] for i in np.argmin(costs, axis=0)]
for name, found in (("greedy", greedy), ("prefix beam", beam), ("one of the ten words", nearest)):
    right = sum(words[i] == said for i, said in zip(test, found, strict=True))
    print(f"{name}: {right} of {len(test)} words right ({right / len(test):.1%})")
for i, said in zip(test, beam, strict=True):
    if words[i] != said:
        print(f"{Path(given.names[i]).name}: {words[i]} | {said}")
