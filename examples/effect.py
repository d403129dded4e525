"""An audio effect learned by a small LSTM, and its C program. Run: python examples/effect.py [FOLDER] [STEPS]

The effect is made here: a waveshaper with memory. How hard it drives follows how loud the sound was before,
the wave is bent unevenly, and filters stand before and after it, as in a guitar amplifier. The network learns
it from a pair of sounds, dry and wet, and is exported to C; the program reads a WAV file, 48,000 samples a
second, and writes another. Needs a C compiler.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np

import tinyrnn as tr
from tinyrnn.tools.export import write_step

RATE, HIDDEN = 48_000, 32
compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
if compiler is None:
    print("this example needs a C compiler: install gcc or clang", file=sys.stderr)
    sys.exit(2)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="effect-"))
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1600
folder.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(0)


def plucked(seconds):
    """Strings that are plucked, one after the other and together, at any loudness."""
    n = int(seconds * RATE)
    sound = np.zeros(n)
    for start in range(0, n, RATE // 6):
        t = np.arange(min(RATE, n - start)) / RATE
        note = 82.4 * 2 ** (random.integers(0, 36) / 12)
        loud = random.uniform(0.05, 0.5)
        for k in range(1, 9):
            decay = np.exp(-t * (1.5 + k))
            sound[start : start + len(t)] += (
                loud / k * decay * np.sin(2 * np.pi * note * k * t + random.uniform(0, 6))
            )
    return np.clip(sound, -1, 1)


def effect(dry):
    """The device, sample by sample."""
    wet, low, loud, slow = np.zeros_like(dry), 0.0, 0.0, 0.0
    for i, x in enumerate(dry.tolist()):
        low += 0.6 * (x - low)  # a low pass
        loud += (0.01 if abs(low) > loud else 0.0005) * (abs(low) - loud)  # rises fast, falls slowly
        bent = np.tanh((4.0 - 3.0 * loud) * low + 0.2) - 0.19737532  # the louder, the less it drives
        slow += 0.002 * (bent - slow)
        wet[i] = 0.8 * (bent - slow)  # a high pass
    return wet


def written(path, sound):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((sound * 32767).round().astype("<i2").tobytes())


def read(path):
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767


# 1. A pair of sounds; the last seconds are kept for the end.
dry = plucked(40).astype(np.float32)
wet = effect(dry).astype(np.float32)
test = slice(-5 * RATE, None)

# 2. An LSTM of one sample in, and a linear layer, one sample out.
rnn, output = tr.RNN("lstm", 1, HIDDEN, seed=1), tr.Linear(HIDDEN, 1, generator=tr.Generator(2))
parameters = [*rnn.parameters(), *output.parameters()]
optimizer = tr.optim.Adam(parameters, lr=4e-3)

# 3. It learns by windows of streams that go on, and the error is relative to the energy of the sound.
B, T = 32, 256
streams = [s[: -5 * RATE][: (len(s) - 5 * RATE) // B * B].reshape(B, -1).T[:, :, None] for s in (dry, wet)]
states, t = None, 0
for step in range(steps):
    if t + T > len(streams[0]):
        states, t = None, 0
    xs, ys = (s[t : t + T] for s in streams)
    t += T
    optimizer.lr = 4e-3 * 0.5 * (1 + np.cos(np.pi * step / steps)) + 1e-5
    hs, states = rnn(xs, states)
    states = [tuple(s.detach() for s in layer) for layer in states]
    loss = tr.sum(tr.square(output(hs) - ys)) / (np.sum(ys * ys) + 1e-3)
    optimizer.zero_grad()
    loss.backward()
    tr.clip_grad_norm(parameters, 1.0)
    optimizer.step()
    if step % 200 == 0 or step == steps - 1:
        print(f"step {step:4}  error to signal {loss.item():.4f}", flush=True)

# 4. The C program: the network as it was exported, and a main that reads and writes WAV files.
write_step(folder / "effect.c", rnn, output)
(folder / "main.c").write_text(r"""
#include "effect.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

int main(int count, char **given) /* of files of one channel, 16 bits a sample */
{
    static effect_state m;
    static int16_t block[48000];
    unsigned char head[44];
    FILE *in = count == 3 ? fopen(given[1], "rb") : NULL, *out = in ? fopen(given[2], "wb") : NULL;
    double taken = 0;
    long samples = 0;
    size_t n;
    if (!in || !out || fread(head, 1, 44, in) != 44 || memcmp(head, "RIFF", 4) || head[22] != 1
        || head[34] != 16)
        return fprintf(stderr, "usage: %s IN.wav OUT.wav, of one channel and 16 bits\n", given[0]), 2;
    fwrite(head, 1, 44, out);
    effect_reset(&m);
    while ((n = fread(block, 2, 48000, in)) > 0) {
        const clock_t begin = clock();
        for (size_t i = 0; i < n; i++) {
            const float x = (float)block[i] / 32767.0f, y = effect_step(&m, &x)[0];
            block[i] = (int16_t)(32767.0f * (y > 1 ? 1.0f : y < -1 ? -1.0f : y));
        }
        taken += (double)(clock() - begin) / CLOCKS_PER_SEC;
        samples += (long)n;
        fwrite(block, 2, n, out);
    }
    fclose(out);
    printf("%ld samples in %.4f s\n", samples, taken);
    return 0;
}
""")
sources = [folder / "effect.c", folder / "main.c"]
subprocess.run([compiler, "-O3", "-march=native", *sources, "-o", folder / "effect", "-lm"], check=True)

# 5. Sound that it has not heard, through the program.
written(folder / "dry.wav", dry[test])
written(folder / "wet.wav", wet[test])
command = [folder / "effect", folder / "dry.wav", folder / "out.wav"]
told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
samples, seconds = map(float, re.findall(r"[\d.]+", told))
out, right = read(folder / "out.wav"), read(folder / "wet.wav")
print(f"error to signal of the program: {100 * np.sum((out - right) ** 2) / np.sum(right**2):.2f} %")
print(f"{told.strip()}: {samples / RATE / seconds:.0f} times as fast as the sound lasts")
print(f"listen: {folder}/dry.wav, wet.wav, out.wav")
