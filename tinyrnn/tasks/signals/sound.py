"""Sound: WAV files, and the energies in bands that are equally wide to the ear."""

import functools
import io
import wave
from pathlib import Path

import numpy as np

from ...base.compressed import unpacked
from ...base.errors import InputError

WINDOW, HOP = 0.025, 0.01  # seconds of sound that are looked at together, and between two such looks
EMPHASIS = 0.97  # high frequencies of speech are weak, and tell more
UNKNOWN = 1 << 28  # samples from which on what a file says of its length is taken for a sign of a stream
FLOOR = 1e-4  # energy that is taken for silence


def read_wav(path: Path) -> tuple[np.ndarray, int, int]:
    """Samples ``[N]`` between -1 and 1, float32, channels mixed down; samples a second; channels.

    Raises:
        InputError: it is no WAV file of 8, 16, 24 or 32 bits (PCM), or holds no sound.
    """
    try:
        with unpacked(path) as raw, wave.open(io.BytesIO(_plain(raw.read()))) as file:
            channels, width, rate, count = file.getparams()[:4]
            data = file.readframes(min(count, UNKNOWN))
            if width > 4:
                raise wave.Error(f"{8 * width} bits")
            if len(data) < count * width * channels and count < UNKNOWN:
                raise EOFError
    except (wave.Error, EOFError, RuntimeError) as error:
        said = f"is not a WAV file that can be read ({str(error) or 'it is cut short'})"
        raise InputError(f"{path} {said}: save it as PCM of 16 bits, or take it away") from None
    if len(data) < width * channels or not rate:
        raise InputError(f"{path} holds no sound: take it away")
    data = data[: len(data) // (width * channels) * width * channels]
    if width == 3:  # the high bytes of integers of 32 bits
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = wide.view("<i4")[:, 0] / 2.0**31
    else:
        samples = np.frombuffer(data, f"<{'u' if width == 1 else 'i'}{width}") / 2.0 ** (8 * width - 1)
    samples = samples - (width == 1)  # bytes have no sign
    return samples.reshape(-1, channels).mean(axis=1).astype(np.float32), rate, channels


def _plain(data: bytes) -> bytes:
    """A WAV file of the form "extensible", as those of 24 bits have it, as one of PCM, if it holds that."""
    at = data.find(b"fmt ", 12, 1 << 16) + 8
    if data[at : at + 2] == b"\xfe\xff" and data[at + 24 : at + 26] == b"\x01\x00":
        return data[:at] + b"\x01\x00" + data[at + 2 :]
    return data


def resampled(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """The same sound at another rate, by its spectrum: what is too high for the new one is gone."""
    if rate == to:
        return samples
    n = max(1, round(len(samples) * to / rate))
    spectrum = np.fft.rfft(samples)[: n // 2 + 1]
    return (np.fft.irfft(spectrum, n) * (n / len(samples))).astype(np.float32)


def levelled(samples: np.ndarray) -> np.ndarray:
    """Equally loud for all, high frequencies raised, ``[N]``."""
    samples = samples / (samples.std() or 1)
    return np.append(samples[:1], samples[1:] - EMPHASIS * samples[:-1]).astype(np.float32)


def log_mel(samples: np.ndarray, rate: int, bands: int = 32) -> np.ndarray:
    """Logarithms of the energies in bands that are equally wide in mel, ``[T, bands]`` float32: a row for
    each `HOP`, of the `WINDOW` that begins there.

    Args:
        samples: ``[N]``, as `levelled` gives them; shorter ones than a window are followed by silence.
    """
    window, hop = max(2, round(WINDOW * rate)), max(1, round(HOP * rate))
    if len(samples) < window:
        samples = np.pad(samples, (0, window - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    size = 1 << int(np.ceil(np.log2(2 * window)))
    spectrum = np.abs(np.fft.rfft(frames * np.hamming(window), size)) ** 2
    return np.log(spectrum @ filters(rate, size, bands) + FLOOR).astype(np.float32)


@functools.cache
def filters(rate: int, size: int, bands: int) -> np.ndarray:
    """Overlapping triangles ``[size // 2 + 1, bands]``, equally wide in mel (O'Shaughnessy 1987)."""
    at = _mel(np.fft.rfftfreq(size, 1 / rate))[:, None] / _mel(rate / 2) * (bands + 1)
    return np.maximum(0, 1 - np.abs(at - np.arange(1, bands + 1)))


def _mel(hertz):
    return 2595 * np.log10(1 + hertz / 700)
