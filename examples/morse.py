"""Read noisy Morse code with a bidirectional LSTM and CTC. Run: python examples/morse.py [STEPS] [TEXTS]

No data is needed, the audio is made here: words of random letters and digits, keyed at 15 to 30 words a
minute as a tone of 500 to 900 Hz, in white noise of twice the tone's power (-3 dB), every dot, dash and pause
off by 10 % (standard deviation).
Nobody tells the network where in the audio a letter is: the CTC loss sums over all alignments.
"""

import itertools
import sys

import numpy as np

import tinyrnn as tr

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
tests = int(sys.argv[2]) if len(sys.argv) > 2 else 500
RATE, SNR, JITTER = 4000, -3.0, 0.1  # samples a second, decibels, standard deviation of durations
WINDOW, HOP, JOINED = 128, 48, 3  # 32 ms of audio every 12 ms; so many frames are one step of the network
CODES = dict(zip(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- "
    "--.. "
    "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----.".split(),
    strict=True,
))  # fmt: skip
SYMBOLS = ["", " ", *CODES]  # class 0 is the blank of CTC
rng = np.random.default_rng(0)


# 1. Audio. A dot lasts one unit and a dash three; pauses last one unit in a letter, three between letters,
# seven between words.
def keyed(text):
    units = {".": "1", "-": "111"}
    words = [
        "000".join("0".join(units[mark] for mark in CODES[letter]) for letter in word)
        for word in text.split()
    ]
    return "000" + "0000000".join(words) + "000"


def sent(text):
    """Noisy audio of ``text``, at a speed and a pitch of its own."""
    unit = RATE * 1.2 / rng.uniform(15, 30)  # samples; by definition a word has 50 units
    runs = [(key == "1", len(list(run))) for key, run in itertools.groupby(keyed(text))]
    lengths = [max(1, round(unit * n * (1 + JITTER * rng.standard_normal()))) for _, n in runs]
    on = np.repeat([key for key, _ in runs], lengths)
    tone = np.sin(2 * np.pi * rng.uniform(500, 900) / RATE * np.arange(len(on)))
    return on * tone + np.sqrt(0.5 / 10 ** (SNR / 10)) * rng.standard_normal(len(on))


# 2. What the network hears: the short-time Fourier transform at the loudest frequency and beside it.
def features(audio):
    """``[steps, 3 * JOINED]``: log-magnitudes, ``JOINED`` frames side by side."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP]
    loudness = np.abs(np.fft.rfft(frames * np.hanning(WINDOW)))
    tone = loudness[:, 1:-1].mean(axis=0).argmax() + 1
    x = np.log(loudness[:, tone - 1 : tone + 2])
    return (x - x.mean())[: len(x) // JOINED * JOINED].reshape(-1, 3 * JOINED)


def batch(size):
    """Texts of one or two words, their features ``[T, size, 3 * JOINED]`` padded with zeros, and the steps of
    each.
    """
    word = lambda: "".join(rng.choice(list(CODES), rng.integers(1, 6)))  # noqa: E731
    texts = [" ".join(word() for _ in range(rng.integers(1, 3))) for _ in range(size)]
    heard = [features(sent(text)) for text in texts]
    lengths = np.array([len(x) for x in heard])
    xs = np.zeros((lengths.max(), size, 3 * JOINED), np.float32)
    for b, x in enumerate(heard):
        xs[: len(x), b] = x
    return texts, xs, lengths


# 3. The model: a probability of each symbol, or of none, at each step.
generator = tr.Generator(0)
rnn = tr.RNN("lstm", 3 * JOINED, 64, num_layers=2, bidirectional=True, generator=generator)
output = tr.Linear(rnn.output_size, len(SYMBOLS), generator=generator)
parameters = [*rnn.parameters(), *output.parameters()]
optimizer = tr.optim.Adam(parameters)


def predict(xs, lengths):
    """Log-probabilities ``[T, B, symbols]``."""
    ys, _ = rnn(tr.tensor(xs), mask=np.arange(len(xs))[:, None] < lengths)
    return tr.log_softmax(output(ys))


for step in range(steps):
    texts, xs, lengths = batch(32)
    labels = [SYMBOLS.index(c) for text in texts for c in text]  # one text after the other
    loss = tr.ctc_loss(predict(xs, lengths), labels, lengths, [len(text) for text in texts])
    optimizer.zero_grad()
    loss.backward()
    optimizer.lr = 4e-3 * (1 - step / steps)
    optimizer.step(max_norm=1.0)
    if step % 250 == 0 or step == steps - 1:
        print(f"step {step:4}  loss {loss.item():.3f} nats a symbol", flush=True)


# 4. Read audio that is new.
def distance(a, b):
    """How many insertions, deletions and substitutions make ``b`` of ``a`` (Levenshtein 1966)."""
    row = range(len(b) + 1)
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (x != y)))
        row = new
    return row[-1]


texts, xs, lengths = batch(tests)
with tr.no_grad():
    log_probs = predict(xs, lengths)
greedy = tr.ctc_greedy_decode(log_probs, lengths)
beam = [labels for labels, _ in tr.ctc_beam_decode(log_probs, lengths)]
for name, decoded in (("greedy", greedy), ("prefix beam", beam)):
    found = ["".join(SYMBOLS[k] for k in labels) for labels in decoded]
    errors = sum(distance(a, b) for a, b in zip(texts, found, strict=True))
    print(f"{name}: character error rate {errors / sum(map(len, texts)):.2%} on {tests} new texts")
for text, read in list(zip(texts, found, strict=True))[:6]:
    print(f"{text:11} | {read}")
