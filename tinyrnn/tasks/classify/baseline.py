"""What the usual simple classifier reaches on the same split: weights of words, and logistic regression."""

import importlib.util
import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from ...base.errors import InputError
from . import scores

QUICK = 4_000_000  # characters of the texts times labels, that take seconds
NAME = "TF-IDF with logistic regression"


def is_quick(texts, labels) -> bool:
    """Whether it is there, and a matter of seconds."""
    return bool(importlib.util.find_spec("sklearn")) and sum(map(len, texts)) * len(labels) <= QUICK


def baseline(train, val, level: str) -> dict:
    """Figures, as of a model, of logistic regression on TF-IDF: of words and pairs of them, where the model
    reads characters or bytes of up to 4 characters within words.

    Args:
        train, val: texts, and what is true of them: labels by number ``[N]``, or 0 and 1 ``[N, labels]``.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
    except ImportError:
        raise InputError("--baseline needs scikit-learn: pip install 'tinyrnn[sklearn]'") from None
    how: dict = dict(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]")
    if level in ("char", "byte"):
        how = dict(ngram_range=(1, 4), analyzer="char_wb")
    vectors = TfidfVectorizer(sublinear_tf=True, **how)
    xs, ys, true = vectors.fit_transform(train[0]), np.asarray(train[1]), np.asarray(val[1])
    of_val = vectors.transform(val[0])

    def fitted(y):  # liblinear is quick where features are many, if its products stay on one thread
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it could still become a little better
            return OneVsRestClassifier(LogisticRegression(C=10.0, solver="liblinear")).fit(xs, y)

    if ys.ndim == 1:
        return scores.of_one(true, fitted(ys).predict(of_val), int(max(ys.max(), true.max())) + 1)
    found = np.zeros(true.shape)
    for j, column in enumerate(ys.T):
        constant = column.all() or not column.any()
        found[:, j] = column[0] if constant else fitted(column).predict_proba(of_val)[:, 1]
    return scores.of_several(true, found >= scores.best_thresholds(found, true))
