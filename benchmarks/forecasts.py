"""Forecasts of many series by one model beside exponential smoothing and Theta: panels of the M4 competition.

    python benchmarks/forecasts.py m4-hourly.csv m4-weekly.csv [--seed 0]

Each file has the columns unique_id, ds and y; of each series the last 48 hours or 13 weeks are the test part,
which nothing sees before. sMAPE and MASE are the competition's (Makridakis, Spiliotis & Assimakopoulos 2020):
MASE of a season of 24 for hours and of 1 for weeks. ETS and Theta: `statsforecast`, of the same seasons.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import tinyrnn as tr

KINDS = {"hourly": (48, 24), "weekly": (13, 1)}  # horizon, season of the competition


def scores(true, said, known, season):
    smape = np.mean(200 * np.abs(true - said) / (np.abs(true) + np.abs(said)))
    return smape, np.mean(np.abs(true - said)) / np.mean(np.abs(known[season:] - known[:-season]))


def table(rows):
    for name, found, seconds in rows:
        smape, mase = np.mean(found, axis=0)
        print(f"{name:24} {smape:8.3f} {mase:8.3f} {seconds:7.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-model", action="store_true", help="leave ETS and Theta out")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of tr.train")
    arguments = parser.parse_args()
    more = {k: int(v) if v.isdigit() else v for k, v in (o.split("=") for o in arguments.option)}
    for file in arguments.files:
        kind = next(k for k in KINDS if k in Path(file).name)
        horizon, season = KINDS[kind]
        frame = pd.read_csv(file)
        values = {key: part.y.to_numpy(float) for key, part in frame.groupby("unique_id", sort=False)}
        print(f"{Path(file).name}: {len(values)} series, {horizon} steps ahead")
        print(f"{'':24} {'sMAPE':>8} {'MASE':>8} {'seconds':>7}")
        with tempfile.TemporaryDirectory() as folder:
            # The test part is no part of the file that is trained on.
            known = pd.concat([part.iloc[:-horizon] for _, part in frame.groupby("unique_id", sort=False)])
            path = Path(folder) / "known.csv"
            known.to_csv(path, index=False)
            began = time.perf_counter()
            own = dict(
                id_column="unique_id", target="y", horizon=horizon, seed=arguments.seed, val_fraction=0.02
            )
            run = tr.train(
                path, "forecast", out=Path(folder) / "run", quiet=True, head="quantile", **own, **more
            )
            said = {}
            for row in run.predict():
                said.setdefault(row["id"], []).append(row["forecast"])
            seconds = time.perf_counter() - began
        found = [scores(y[-horizon:], np.array(said[k]), y[:-horizon], season) for k, y in values.items()]
        table([("tinyrnn, one model", found, seconds)])
        if arguments.only_model:
            continue
        from statsforecast import models

        for name, make in (
            ("ETS", models.AutoETS),
            ("Theta", models.AutoTheta),
            ("Theta, standard", models.Theta),
        ):
            began = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                guesses = {
                    k: make(season_length=season).forecast(y[:-horizon], horizon)["mean"]
                    for k, y in values.items()
                }
            found = [scores(y[-horizon:], guesses[k], y[:-horizon], season) for k, y in values.items()]
            table([(f"{name} of statsforecast", found, time.perf_counter() - began)])


if __name__ == "__main__":
    main()
