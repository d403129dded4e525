"""Arrays in, predictions out, as in scikit-learn. Run: python examples/arrays.py [PICTURE.png]

Random sequences whose targets depend on this step and the last, a heat map of what is predicted wrong, and
images of digits read row by row. Needs: pip install "tinyrnn[sklearn,plot]"
"""

import sys

import numpy as np

try:
    import matplotlib
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ImportError:
    print(
        "this example needs scikit-learn and matplotlib: pip install 'tinyrnn[sklearn,plot]'", file=sys.stderr
    )
    sys.exit(2)

from tinyrnn.sklearn import SequenceClassifier, SequenceRegressor, plot_errors

matplotlib.use("Agg")  # a file, no window

x = np.random.default_rng(0).standard_normal((400, 20, 3))  # samples, steps, features
y = x[:, :, 0] + np.roll(x[:, :, 1], 1, axis=1) * (np.arange(20) > 0)  # [samples, steps]
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
model = SequenceRegressor(epochs=100, batch_size=32, random_state=0).fit(x_train, y_train)
print(f"random sequences: R^2 {model.score(x_test, y_test):.4f} on {len(x_test)} that it has not seen")
picture = sys.argv[1] if len(sys.argv) > 1 else "errors.png"
plot_errors(y_test, model.predict(x_test)).figure.savefig(picture)
print(f"errors by sample and step: {picture}")

images, digits = load_digits(return_X_y=True)
split = train_test_split(images.reshape(-1, 8, 8), digits, random_state=0)  # a row of pixels is a step
reader = SequenceClassifier(random_state=0).fit(split[0], split[2])
print(f"digits read row by row: accuracy {reader.score(split[1], split[3]):.4f}")
