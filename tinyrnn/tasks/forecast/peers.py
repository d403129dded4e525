"""Exponential smoothing and Theta as others do them, to be measured beside a model."""

import warnings

import numpy as np

SERIES, ORIGINS = 6, 40  # at most so many series, and forecasts of each
LONG = 24  # steps: the season of ETS is at most so long
FEW = 6  # rows, with which nothing can be fitted


def forecasts_of_peers(prepared, flat) -> dict:
    """Forecasts ``[n, horizon]`` by ``"ets"`` and ``"theta"`` of statsforecast, fitted once on what comes
    before the first origin of a series; under ``""`` of which of ``flat`` they are. Empty: it is missing.
    """
    try:
        from statsforecast import models
    except ImportError:
        return {}
    model = prepared.model
    season = model.season if model.season <= LONG else 1
    which = prepared.series[flat]
    some = np.unique(which)[:: -(-len(np.unique(which)) // SERIES)]
    rows: list[int] = []
    found: dict[str, list[np.ndarray]] = {"ets": [], "theta": []}
    for i in some.tolist():
        own = np.flatnonzero(which == i)
        own = own[:: -(-len(own) // ORIGINS)]
        begin = prepared.starts[i]
        first = prepared.filled[begin : flat[own[0]]]
        if len(first) < max(FEW, 2 * season):
            continue
        rows += own.tolist()
        for name, kind in (("ets", models.AutoETS), ("theta", models.AutoTheta)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fitted = kind(season_length=season).fit(first)
                for origin in flat[own].tolist():
                    said = fitted.forward(prepared.filled[begin:origin], model.horizon)
                    found[name].append(np.asarray(said["mean"], np.float64))
    return {"": np.array(rows), **{k: np.stack(v) for k, v in found.items()}} if rows else {}
