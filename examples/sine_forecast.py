"""Forecast a noisy wave with an LSTM and squared error. Run: python examples/sine_forecast.py

One model, two ways to forecast: one step ahead from true values, and many steps ahead feeding back its own.
"""

import numpy as np

import tinyrnn as tr

rng = np.random.default_rng(0)
time = np.arange(1200)
wave = np.sin(2 * np.pi * time / 25) + 0.5 * np.sin(2 * np.pi * time / 60)
series = (wave + 0.05 * rng.standard_normal(len(time))).astype(np.float32)
train, test = series[:900], series[900:]

T, B = 60, 32
rnn, output = tr.RNN("lstm", 1, 32, seed=0), tr.Linear(32, 1)
parameters = [*rnn.parameters(), *output.parameters()]
optimizer = tr.optim.Adam(parameters, lr=5e-3)


def predict(values, states=None):
    """Next value after each of ``values [T, B]``."""
    ys, states = rnn(tr.tensor(values[:, :, None]), states)
    return output(ys).reshape(values.shape), states


for step in range(301):
    starts = rng.integers(0, len(train) - T - 1, B)
    windows = train[starts[None, :] + np.arange(T + 1)[:, None]]
    loss = tr.mse_loss(predict(windows[:-1])[0], windows[1:])
    optimizer.zero_grad()
    loss.backward()
    tr.clip_grad_norm(parameters, 1.0)
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step:3}  mean squared error {loss.item():.4f}")


def rmse(error):
    return float(np.sqrt(np.mean(error**2)))


with tr.no_grad():
    one_step = predict(test[:-1, None])[0].numpy()[:, 0]
    history, horizon = test[:100], 50
    guess, states = predict(history[:, None])
    value, free = guess.numpy()[-1, 0], []
    for _ in range(horizon):
        free.append(value)
        guess, states = predict(np.array([[value]], np.float32), states)
        value = guess.numpy()[0, 0]

print(
    f"one step ahead: RMSE {rmse(one_step - test[1:]):.3f}, repeating the last value "
    f"{rmse(test[1:] - test[:-1]):.3f}"
)
print(f"{horizon} steps free-running: RMSE {rmse(np.array(free) - test[100:150]):.3f}, noise alone 0.05")
