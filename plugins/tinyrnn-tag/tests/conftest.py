"""The task is found as a user's is, by its entry point, where the package is not installed too. Kernels
compiled by the tests are kept between runs, outside the user's own cache; BLAS runs on one thread.
"""

import importlib.metadata
import os
import sys
import tempfile
import tomllib
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TINYRNN_CACHE", str(Path(tempfile.gettempdir()) / "tinyrnn-test-cache"))

PACKAGE = Path(__file__).parents[1]
GROUP = "tinyrnn.tasks"

if "tag" not in importlib.metadata.entry_points(group=GROUP).names:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = Path(tempfile.mkdtemp()) / "site"
    metadata = folder / f"tinyrnn_tag-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(head)
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"][GROUP].items())
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")
    sys.path[:0] = [str(folder), str(PACKAGE)]
