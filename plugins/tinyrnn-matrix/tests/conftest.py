"""Kernels compiled by the tests are kept between runs, outside the user's own cache; BLAS runs on one
thread.
"""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TINYRNN_CACHE", str(Path(tempfile.gettempdir()) / "tinyrnn-test-cache"))
