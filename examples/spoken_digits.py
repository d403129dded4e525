"""Spell spoken digits with a deep bidirectional LSTM and CTC. Run: python examples/spoken_digits.py FOLDER
[EPOCHS]

FOLDER holds recordings named DIGIT_SPEAKER_INDEX.wav (8 kHz, mono, 16 bits), as in the Free Spoken Digit
Dataset, github.com/Jakobovski/free-spoken-digit-dataset. Those of indices 0 and 1 are held out for the test,
all others train. The network hears a word and writes its letters; it may write any letters, and nobody tells
it where in the audio they are.
"""

import sys
import wave
from pathlib import Path

import numpy as np

import tinyrnn as tr

epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 150
WORDS = "zero one two three four five six seven eight nine".split()
LETTERS = ["", *sorted(set("".join(WORDS)))]  # class 0 is the blank of CTC
RATE, WINDOW, HOP, BANDS = 8000, 200, 80, 32  # 25 ms of audio every 10 ms
JOINED = 2  # so many of these are heard at once: CTC then has fewer steps to choose from
rng = np.random.default_rng(0)


def stop(sentence):
    print(sentence, file=sys.stderr)
    sys.exit(2)


# 1. The recordings.
def samples(path):
    """The audio of a WAV file, equally loud for all, its high frequencies raised."""
    try:
        with wave.open(str(path)) as file:
            form, data = (
                (file.getframerate(), file.getnchannels(), file.getsampwidth()),
                file.readframes(file.getnframes()),
            )
    except (wave.Error, EOFError) as error:
        stop(f"{path} is not a WAV file ({error}): remove it from the folder")
    if form != (RATE, 1, 2) or len(data) < 10 * WINDOW:
        stop(
            f"{path} must be 8 kHz, mono, 16 bits, and at least {5 * WINDOW / RATE} s long: convert it, or "
            "remove it"
        )
    audio = np.frombuffer(data, "<i2") / 2**15
    audio = audio / (audio.std() or 1)
    return np.append(audio[0], audio[1:] - 0.97 * audio[:-1])


files = sorted(Path(sys.argv[1]).glob("[0-9]_*_*.wav")) if len(sys.argv) > 1 else []
test = [f for f in files if f.stem.split("_")[-1] in ("0", "1")]
train = [f for f in files if f not in test]
if not train or not test:
    stop(
        "name a folder of DIGIT_SPEAKER_INDEX.wav, some of index 0 or 1 and some of others: spoken_digits.py "
        "FOLDER"
    )


# 2. What the network hears: the energy in bands that are equally wide to the ear, in decibels or so.
def mel(hertz):
    return 2595 * np.log10(1 + hertz / 700)


def filterbank():
    """Overlapping triangles ``[frequencies, BANDS]``, equally wide in mel."""
    at = mel(np.fft.rfftfreq(512, 1 / RATE))[:, None] / mel(RATE / 2) * (BANDS + 1)
    return np.maximum(0, 1 - np.abs(at - np.arange(1, BANDS + 1)))


FILTERS = filterbank()


def features(audio):
    """Log-mel energies ``[T, BANDS]``."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP]
    return np.log(np.abs(np.fft.rfft(frames * np.hamming(WINDOW), 512)) ** 2 @ FILTERS + 1e-4)


def varied(audio):
    """The features of the same word faster or slower, higher or lower, and with some noise."""
    faster = np.interp(np.arange(0, len(audio) - 1, rng.uniform(0.85, 1.15)), np.arange(len(audio)), audio)
    return features(faster + audio.std() * 10 ** rng.uniform(-3, -1.5) * rng.standard_normal(len(faster)))


audio = {f: samples(f) for f in files}
known = np.concatenate([features(audio[f]) for f in train])
mean, deviation = known.mean(axis=0), known.std(axis=0)


def batch(heard):
    """Features ``[T, B, JOINED * BANDS]``, normalised, joined and padded with zeros, and the steps of
    each.
    """
    lengths = np.array([len(x) // JOINED for x in heard])
    xs = np.zeros((lengths.max(), len(heard), JOINED * BANDS), np.float32)
    for b, (x, n) in enumerate(zip(heard, lengths, strict=True)):
        xs[:n, b] = ((x - mean) / deviation)[: n * JOINED].reshape(n, -1)
    return xs, lengths


# 3. The model: a probability of each letter, or of none, at each step.
generator = tr.Generator(0)
rnn = tr.RNN("lstm", JOINED * BANDS, 96, num_layers=2, bidirectional=True, dropout=0.5, generator=generator)
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


def word(file):
    return WORDS[int(file.name[0])]


for epoch in range(epochs):
    losses = []
    for files in np.array_split(rng.permutation(train), -(-len(train) // 24)):
        xs, lengths = batch([varied(audio[f]) for f in files])
        loss = loss_of([word(f) for f in files], predict(xs, lengths), lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = 3e-3 * (1 - epoch / epochs)
        optimizer.step(max_norm=1.0)
        losses.append(loss.item())
    if epoch % 10 == 0 or epoch == epochs - 1:
        print(f"epoch {epoch:2}  loss {np.mean(losses):.3f} nats a letter", flush=True)

# 4. Listen to the recordings that were held out.
xs, lengths = batch([features(audio[f]) for f in test])
with rnn.evaluating():
    log_probs = predict(xs, lengths)
    costs = [loss_of([w] * len(test), log_probs, lengths, "none").numpy() for w in WORDS]
greedy = ["".join(LETTERS[k] for k in labels) for labels in tr.ctc_greedy_decode(log_probs, lengths)]
beam = ["".join(LETTERS[k] for k in labels) for labels, _ in tr.ctc_beam_decode(log_probs, lengths)]
nearest = [WORDS[i] for i in np.argmin(costs, axis=0)]
for name, found in (("greedy", greedy), ("prefix beam", beam), ("one of the ten words", nearest)):
    right = sum(word(f) == said for f, said in zip(test, found, strict=True))
    print(f"{name}: {right} of {len(test)} words right ({right / len(test):.1%})")
for file, said in zip(test, beam, strict=True):
    if word(file) != said:
        print(f"{file.name}: {word(file)} | {said}")
