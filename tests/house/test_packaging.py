"""What is published: extras, metadata, and an sdist that can run its own tests."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

import tinyrnn as tr
from tinyrnn.base import plugins
from tinyrnn.base.version import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
MODULES = {  # the module of a package, where it bears another name
    "cupy-cuda12x": "cupy",
    "cupy-cuda13x": "cupy",
    "scikit-learn": "sklearn",
    "pytest-xdist": "xdist",
}
# Required or offered for code that is being written.


def names(requirements):
    return [re.match(r"[\w-]+", line)[0] for line in requirements]


def imported(*folders):
    """The outermost modules that the Python files in these folders import, wherever in them."""
    modules = set()
    for folder in folders:
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    modules.add(node.module.split(".")[0])
    return modules


USED = imported("tinyrnn", "docs", "examples")
OFFERED = {(extra, name) for extra in EXTRAS.keys() - {"docs", "test"} for name in names(EXTRAS[extra])}


@pytest.mark.parametrize(
    ("extra", "package"), sorted(OFFERED | {("", name) for name in names(PROJECT["dependencies"])})
)
def test_every_package_that_is_asked_for_is_used(extra, package):
    assert MODULES.get(package, package) in USED, (
        f"no file imports {package}: the extra {extra!r} means nothing"
    )


def test_the_extras_for_developers_are_used():
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert names(EXTRAS["docs"]) == ["mkdocs", "mkdocs-material", "mkdocstrings"]
    assert "name: material" in site and "mkdocstrings:" in site
    checks = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    by_command = {
        "ruff": "/ruff check",
        "pytest-xdist": "pytest -n auto",
        "mypy": "/mypy",
        "pytest-timeout": "pytest",
    }
    tests = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    for name in set(names(EXTRAS["test"])) - {"tinyrnn"}:
        asked_for = f'importorskip("{name}")' in tests or name in imported("tests")
        assert asked_for or by_command[name] in checks, name


def test_tests_have_every_extra_that_needs_no_gpu():
    (whole,) = [line for line in EXTRAS["test"] if line.startswith("tinyrnn[")]
    assert set(re.search(r"\[(.*)\]", whole)[1].split(",")) == EXTRAS.keys() - {
        "cuda12",
        "cuda13",
        "docs",
        "test",
    }


def test_extras_that_sentences_name_exist():
    sources = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*.py"),
        *ROOT.glob("tinyrnn/**/*.py"),
    ]
    named = {
        extra: path
        for path in sources
        for found in re.findall(r"tinyrnn\[(\w+(?:,\w+)*)\]", path.read_text(encoding="utf-8"))
        for extra in found.split(",")
    }
    assert named.keys() <= EXTRAS.keys(), named
    assert named.keys() >= EXTRAS.keys() - {"docs", "test", "sklearn"}  # a missing one says so


def test_metadata():
    versions = {c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert versions == {"3.11", "3.12", "3.13", "3.14"} and PROJECT["requires-python"] == ">=3.11"
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation and f"\nlicense: {PROJECT['license']}\n" in citation
    assert PROJECT["urls"]["Homepage"] in citation


def test_ci_runs_the_checks_everywhere():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "run: .ci/run" in workflow and "shell: bash" in workflow
    assert all(f"{system}-latest" in workflow for system in ("ubuntu", "macos", "windows"))
    assert os.access(ROOT / ".ci" / "run", os.X_OK) or os.name == "nt"
    done = subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("versions", ["oldest", "newest"])
def test_what_is_required_is_pinned_with_hashes(versions):
    """All of it; the oldest in the very versions that the project says it can do with."""
    text = (ROOT / ".ci" / f"{versions}.txt").read_text(encoding="utf-8")
    pins = re.findall(
        r"^([a-z][\w-]*)==([\w.]+).*((?:\\\n    --hash=sha256:[0-9a-f]{64} ?)+)", text, re.MULTILINE
    )
    assert len(pins) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    found = {name: version for name, version, _ in pins}
    for requirement in PROJECT["dependencies"]:
        name, least = requirement.split(">=")
        assert name in found
        if versions == "oldest":
            assert f"{found[name]}.0".startswith(f"{least}."), requirement
    assert ".ci/$versions.txt" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_a_checkout_runs_without_being_installed(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: ())
    found = plugins.Group("tinyrnn.cells", "cell", tr.Cell).installed
    assert {name: entry.package for name, entry in found.items()} == dict.fromkeys(
        ("gru", "ln-gru", "ln-lstm", "lstm", "rnn"), "tinyrnn"
    )
    assert issubclass(found["lstm"].load(), tr.Cell) and not plugins.points_of_checkout("tinyrnn.other")


@pytest.mark.slow  # which also keeps the tests that it runs from running it again
def test_an_unpacked_sdist_runs_its_own_tests(tmp_path):
    pytest.importorskip("setuptools")
    copy, out = tmp_path / "copy", tmp_path / "out"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    if not files:  # this is a copy already
        kept = ("tinyrnn", "tests", "docs", "examples", "plugins", "benchmarks", ".ci", ".github")
        files = [p.relative_to(ROOT).as_posix() for folder in kept for p in (ROOT / folder).rglob("*")]
        files += [p.name for p in ROOT.iterdir()]
    files = [f for f in files if (ROOT / f).is_file() and not re.search(r"__pycache__|\.egg-info|/build/", f)]
    for name in files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=copy, check=True, capture_output=True)
    with tarfile.open(next(out.glob("tinyrnn-*.tar.gz"))) as archive:
        archive.extractall(out, filter="data")
    (unpacked,) = [p for p in out.iterdir() if p.is_dir()]
    missing = {f for f in files if not (unpacked / f).is_file()}
    assert missing == set()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    chosen = ["tests/house/test_rooms.py", "tests/house/test_packaging.py", "tests/autograd/test_tape.py"]
    chosen.append("tests/house/test_docs.py::test_the_files_that_a_page_names_exist")
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run([*command, *chosen], cwd=unpacked, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_pages_build_without_warnings(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "site" / "reference" / "index.html").read_text(encoding="utf-8")
    for name in ("tinyrnn.scan", "tinyrnn.RNN", "tinyrnn.optim.AdamW", "tinyrnn.load", "tinyrnn.InputError"):
        assert f'id="{name}"' in reference, name


def test_the_reference_names_all_that_is_public():
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    listed = {
        name
        for block in re.findall(r"members: \[(.*?)\]", page, re.DOTALL)
        for name in re.findall(r"\w+", block)
    }
    public = {n for n in tr.__all__ if not isinstance(getattr(tr, n), type(tr))}
    public |= set(tr.optim.__all__) - {"OPTIMIZERS"} | set(tr.linalg.__all__)
    assert listed >= public, public - listed
    assert listed <= public | set(tr.__all__) | set(tr.cells.__all__)
