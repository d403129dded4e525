"""Arrays, lists and data frames read as sequences, for the estimators of `tinyrnn.sklearn`."""

import numpy as np

from ..base.errors import InputError

_FORMS = "give [samples, steps, features], [samples, steps] of one feature, or a list of [steps, features]"


def read_sequences(X):
    """Samples as float64 arrays ``[T_i, F]``.

    Args:
        X: an array ``[N, T, F]``, or ``[N, T]`` of one feature a step; a list of ``[T_i, F]`` or ``[T_i]``; a
            pandas frame whose rows have an index of two levels, sample and step, and whose columns are
            features; a frame whose columns are features and whose cells hold a sequence each; any other frame
            is ``[N, T]``.

    Returns:
        ``(sequences, whole)``; ``whole``: X was one array, so all its sequences are equally long.

    Raises:
        InputError: no samples or steps, numbers that are NaN, infinite or complex, steps of different width.
    """
    rows = _rows(X)
    if not len(rows):
        raise InputError("X has 0 samples: give at least one sequence")
    sequences = [_sequence(row, i) for i, row in enumerate(rows)]
    for i, steps in enumerate(sequences):
        if steps.shape[1] != sequences[0].shape[1]:
            widths = f"{steps.shape[1]} features a step, sample 0 has {sequences[0].shape[1]}"
            raise InputError(f"X: sample {i} has {widths}: give all samples the same features")
    return sequences, isinstance(rows, np.ndarray) and rows.ndim > 1


def feature_names(X):
    """The names of the features of a frame whose columns are features, else None."""
    return np.asarray(X.columns, object) if _is_long(X) or _is_nested(X) else None


def read_targets(y, X):
    """``y`` without pandas, in the order of the samples of ``X``: an array, or a list, one entry a sample.

    Raises:
        InputError: ``y`` is None, or is indexed by other samples or steps than the frame ``X``.
    """
    if y is None:
        raise InputError("fit requires y to be passed, but the target y is None: give one entry a sample")
    if not hasattr(y, "iloc"):
        return list(y) if isinstance(y, list | tuple) else np.asarray(y)
    if not _is_long(X):
        return y.to_numpy()
    index = X.index if y.index.nlevels == 2 else X.index.unique(0)
    if not y.index.equals(index):
        raise InputError(
            "y is indexed by other samples or steps than X, or in another order: "
            "give y.loc of the index of X, or y.to_numpy() if its order is that of X"
        )
    return _split(y) if y.index.nlevels == 2 else y.to_numpy()


def numbers(values, name, i):
    """Sample ``i`` of ``values`` as a float64 array; InputError if it holds anything but finite numbers."""
    try:
        array = np.asarray(values)
        if array.dtype.kind in "USc":
            raise TypeError(
                f"Complex data not supported: {array.dtype}" if array.dtype.kind == "c" else "text"
            )
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        mend = _FORMS if name == "X" else "give numbers, or use a classifier or tagger for labels"
        raise InputError(f"{name}: sample {i} cannot be read as numbers ({error}): {mend}") from None
    if not np.isfinite(array).all():
        raise InputError(
            f"{name}: sample {i} contains {'NaN' if np.isnan(array).any() else 'infinity'}: "
            "fill its gaps or leave the sample out"
        )
    return array


def _is_long(X):
    return hasattr(X, "iloc") and X.index.nlevels == 2


def _is_nested(X):
    return hasattr(X, "iloc") and X.size > 0 and np.ndim(X.iloc[0, 0]) == 1


def _rows(X):
    """The samples of ``X``: an array of them, or a list."""
    if hasattr(X, "toarray"):
        raise InputError("X is a sparse matrix: give X.toarray()")
    if _is_long(X):
        return _split(X)
    if _is_nested(X):
        try:
            return [
                np.stack([np.asarray(cell) for cell in row], axis=-1) for row in X.itertuples(index=False)
            ]
        except ValueError:
            raise InputError(
                "X is a frame of sequences: all cells of a row must have the same length"
            ) from None
    if isinstance(X, list | tuple):
        return list(X)
    array = np.asarray(X)
    if array.ndim in (2, 3) or (array.ndim == 1 and array.dtype == object):
        return array
    raise InputError(f"X has shape {list(array.shape)}: {_FORMS} (Reshape your data: X[None] is one sample)")


def _split(frame):
    """The values of each sample of a frame or series with the index (sample, step), as they stand."""
    parts = []
    for name, part in frame.groupby(level=0, sort=False):
        steps = part.index.get_level_values(1)
        if not (steps.is_monotonic_increasing and steps.is_unique):
            raise InputError(
                f"the steps of sample {name!r} do not ascend: call sort_index() on the frame first"
            )
        parts.append(part.to_numpy())
    return parts


def _sequence(row, i):
    steps = numbers(row, "X", i)
    if steps.ndim == 1:
        steps = steps[:, None]
    if steps.ndim != 2 or not steps.size:
        raise InputError(f"X: sample {i} has shape {list(steps.shape)}, no steps of features: {_FORMS}")
    return steps
