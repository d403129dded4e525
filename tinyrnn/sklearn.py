"""Recurrent networks with scikit-learn's conventions (extra ``sklearn``), and a picture of their errors."""

try:
    from .tools.estimators import SequenceClassifier, SequenceEstimator, SequenceRegressor, SequenceTagger
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "sklearn":
        raise
    raise ImportError("tinyrnn.sklearn needs scikit-learn: pip install 'tinyrnn[sklearn]'") from None
from .tools.error_map import plot_errors

__all__ = ["SequenceClassifier", "SequenceEstimator", "SequenceRegressor", "SequenceTagger", "plot_errors"]
