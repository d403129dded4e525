"""How well labels are said: one of each text, or any number of them, from a threshold of each on."""

import numpy as np

ENOUGH = (
    10  # texts with a label among those that are looked at: from so many on it has a threshold of its own
)


def of_one(true: np.ndarray, said: np.ndarray, count: int) -> dict:
    """``accuracy macro_f1 confusion`` of labels by number ``[N]``, of ``count``; confusion
    ``[true][said]``, counts.
    """
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (true, said), 1)
    hits = confusion.diagonal()
    _, macro = _f1(hits, confusion.sum(axis=1), confusion.sum(axis=0))
    return {
        "accuracy": float(hits.sum() / confusion.sum()),
        "macro_f1": macro,
        "confusion": confusion.tolist(),
    }


def of_several(true: np.ndarray, said: np.ndarray) -> dict:
    """``exact micro_f1 macro_f1 counts`` of labels ``[N, labels]``, true or not; exact: the part of the texts
    that have all labels right; counts ``[label][true, said, right]``.
    """
    true, said = true.astype(bool), said.astype(bool)
    counts = [(a & b).sum(axis=0) for a, b in ((true, true), (said, said), (true, said))]
    micro, macro = _f1(counts[2], counts[0], counts[1])
    exact = float((true == said).all(axis=1).mean())
    return {"exact": exact, "micro_f1": micro, "macro_f1": macro, "counts": np.transpose(counts).tolist()}


def _f1(hits, true, said) -> tuple[float, float]:
    """Of all labels together, and its mean over those that are true or said of any text."""
    found = 2 * hits / np.maximum(true + said, 1)
    there = true + said > 0
    macro = float(found[there].mean()) if there.any() else 0.0
    return float(2 * hits.sum() / max((true + said).sum(), 1)), macro


def best_thresholds(probabilities: np.ndarray, true: np.ndarray) -> np.ndarray:
    """``[labels]``: from which probability on each label is said, that F1 is highest on these texts
    ``[N, labels]``; a label that fewer than `ENOUGH` of them have takes what is best for all together.
    """
    shared = _best(probabilities.ravel(), true.ravel())
    columns = zip(probabilities.T, true.T, strict=True)
    return np.array([_best(p, t) if t.sum() >= ENOUGH else shared for p, t in columns])


def _best(probabilities, true) -> float:
    if not true.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    falling, hits = probabilities[order].astype(np.float64), np.cumsum(true[order] > 0)
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
    below = np.append(falling[1:], 0.0)
    f1[falling == below] = -1.0  # equal ones are said together
    k = int(f1.argmax())
    return float((falling[k] + below[k]) / 2)
