"""Search for good hyper-parameters with Optuna. Run: python examples/hyperparameter_search.py text.txt
[trials] [steps]

Each trial is a run of `tinyrnn train --json`, whose log lines arrive while it trains: a trial that falls
behind the others is ended early, by the signal that a person would send too. Needs: pip install
"tinyrnn[search]"
"""

import json
import subprocess
import sys
import tempfile

try:
    import optuna
except ImportError:
    print("this example needs optuna: pip install 'tinyrnn[search]'", file=sys.stderr)
    sys.exit(2)

text, trials, steps = [*sys.argv[1:], *["text.txt", "20", "600"][len(sys.argv) - 1 :]]


def train(trial):
    options = {
        "--cell": trial.suggest_categorical("cell", ["gru", "lstm"]),
        "--hidden": trial.suggest_int("hidden", 64, 256, step=32),
        "--layers": trial.suggest_int("layers", 1, 3),
        "--lr": trial.suggest_float("lr", 1e-3, 2e-2, log=True),
        "--dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }
    with tempfile.TemporaryDirectory() as folder:
        shape = [
            "--steps",
            steps,
            "--eval-every",
            str(max(1, int(steps) // 6)),
            "--out",
            f"{folder}/run",
            "--json",
        ]
        chosen = [str(part) for pair in options.items() for part in pair]
        run = subprocess.Popen(
            [sys.executable, "-m", "tinyrnn", "train", text, *chosen, *shape],
            stdout=subprocess.PIPE,
            text=True,
        )
        losses = []
        for line in run.stdout:
            record = json.loads(line)
            losses.append(record["val_loss"])
            trial.report(losses[-1], record["step"])
            if trial.should_prune():
                run.terminate()
                run.wait()
                raise optuna.TrialPruned
        if run.wait() == 2:  # bad input: it has said why, and no other trial would fare better
            sys.exit(2)
    return min(losses, default=float("inf"))


study = optuna.create_study(
    sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner(n_startup_trials=4)
)
study.optimize(train, n_trials=int(trials))
ended = sum(t.state == optuna.trial.TrialState.PRUNED for t in study.trials)
print(
    f"{len(study.trials)} trials, {ended} ended early; best validation loss {study.best_value:.4f} nats with"
)
print("tinyrnn train", text, *[f"--{name} {value}" for name, value in study.best_params.items()])
