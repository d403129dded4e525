"""The cache folder: which one it is, what tinyrnn writes there, and that nothing else is ever deleted."""

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tinyrnn.base import files
from tinyrnn.cli import main
from tinyrnn.kernels import jit
from tinyrnn.tasks.text import sources


def clear():
    return CliRunner().invoke(main, ["doctor", "--clear-cache"])


def contents(folder):
    """Every file below ``folder`` with what it holds; links as where they lead."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.readlink(path)
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def write(path, text="mine"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def fill(folder):
    """One file of each kind that tinyrnn writes into a cache, and what killed processes leave; their
    paths.
    """
    names = [
        "kernels/0123456789abcdef/rows.softmax-12.py311.nbi",
        "kernels/0123456789abcdef/rows.softmax-12.py311.1.nbc",
        "kernels/0123456789abcdef/rows.softmax-12.py311.1.nbc.tmp.0123456789abcdef",
        "generated/lstm_0123456789abcdef.py",
        "generated/.lstm_0123456789abcdef.py.a_b1c2d3.tinyrnn-partial",
        "generated/__pycache__/lstm_0123456789abcdef.cpython-311.pyc",
        "texts/0123456789abcdef01234567.txt",
        "tokens/0123456789abcdef01234567.bin",
        "tokens/0123456789abcdef01234567.json",
        "tokens/tmpa_b1c2d3/tokens",
        "reports/fault_0123456789abcdef.py",
        "reports/__pycache__/fault_0123456789abcdef.cpython-311.pyc",
    ]
    return [write(folder / name, "made") for name in names]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TINYRNN_CACHE", str(folder))
    return folder


# ------------------------------------------------------------------ which folder


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_variable_counts_as_unset(monkeypatch, tmp_path, empty):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("TINYRNN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, empty)
    for platform, base in {"linux": ".cache", "darwin": "Library/Caches", "win32": "AppData/Local"}.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert files.cache_folder() == tmp_path / base / "tinyrnn"


def test_the_variables_are_heeded(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("TINYRNN_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert files.cache_folder() == Path("/x/tinyrnn")
    monkeypatch.setenv("TINYRNN_CACHE", "/own")
    assert files.cache_folder() == Path("/own")


def test_clearing_with_an_empty_variable_spares_the_current_folder(tmp_path, monkeypatch):
    project = tmp_path / "project"
    write(project / "thesis.txt")
    monkeypatch.chdir(project)
    monkeypatch.setenv("TINYRNN_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "caches"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    before = contents(project)
    assert clear().exit_code == 0
    assert contents(project) == before


# ------------------------------------------------------------------ the marker


def test_a_folder_that_tinyrnn_makes_or_finds_empty_gets_the_marker(cache):
    for _ in range(2):
        sources.resolve([])
        assert (
            (cache / files.MARKER).read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
        )
        (cache / files.MARKER).unlink()
        next((cache / "texts").iterdir()).unlink()
        (cache / "texts").rmdir()


def test_a_folder_of_somebody_gets_no_marker(cache):
    """Programs that make backups pass over a folder with the marker."""
    write(cache / "thesis.txt")
    sources.resolve([])
    assert {p.name for p in cache.iterdir()} == {"thesis.txt", "texts"}


# ------------------------------------------------------------------ clearing


def test_a_cache_of_our_own_is_emptied(cache):
    files.make_cache_folder()
    fill(cache)
    result = clear()
    assert result.exit_code == 0 and not list(cache.iterdir())
    assert "deleted kernels, 3 files" in result.stdout and "deleted reports, 2 files" in result.stdout
    assert "left" not in result.stdout
    assert "nothing to delete" in clear().stdout
    cache.rmdir()
    assert clear().exit_code == 0 and not cache.exists()


def test_what_tinyrnn_really_writes_goes_and_comes_back(cache):
    assert jit.load_source("x", "value = 1\n").value == 1
    sources.resolve([])
    assert clear().exit_code == 0 and not list(cache.iterdir())
    assert jit.load_source("x", "value = 1\n").value == 1
    assert len(list((cache / "generated").glob("x_*.py"))) == 1


@pytest.mark.parametrize("marked", [True, False])
def test_what_tinyrnn_did_not_make_stays(cache, marked):
    """User files beside the cache's, in its sub-folders, and in sub-folders of the same names."""
    if marked:
        files.make_cache_folder()
    own = [
        "thesis.txt",
        "data/train.csv",
        "kernels/Makefile",
        "kernels/0123456789abcdef/notes.txt",
        "kernels/0123456789abcdef/deeper/rows.nbi",
        "kernels/cuda/rows.nbi",
        "generated/report.py",
        "generated/lstm_short.py",
        "generated/__pycache__/report.cpython-311.pyc",
        "texts/letter.txt",
        "tokens/tmpa_b1c2d3/other",
        "reports/2024.py",
        "reports/fault_of_mine.py",
    ]
    for name in own:
        write(cache / name)
    made = fill(cache)
    result = clear()
    assert result.exit_code == 0
    assert contents(cache) == dict.fromkeys(own, b"mine")
    assert not any(path.exists() for path in made)
    for name in ("thesis.txt", "data", "kernels/Makefile", "generated/report.py"):
        assert f"left    {name}: tinyrnn did not make it" in result.stdout


def test_many_foreign_files_are_counted_not_listed(cache):
    fill(cache)
    for i in range(25):
        write(cache / f"note-{i}.txt")
    said = clear().stdout
    assert said.count("tinyrnn did not make it") == 20 and "left    5 more" in said


@pytest.mark.parametrize(
    "inside", [["thesis.txt"], ["kernels/Makefile", "texts/letter.txt"], ["CACHEDIR.TAG"]]
)
def test_a_folder_that_is_no_cache_is_refused(cache, inside):
    for name in inside:
        write(cache / name, "Signature: 8a477f597d28d172789f06886806bc55\n# another program's\n")
    before = contents(cache)
    result = clear()
    assert result.exit_code == 2 and contents(cache) == before
    assert result.stderr == (
        f"Error: {cache} is no cache of tinyrnn's, nothing in it was deleted: check the variable "
        "TINYRNN_CACHE\n"
    )


def test_a_file_in_the_place_of_the_cache_is_refused(cache):
    write(cache)
    assert clear().exit_code == 2 and cache.read_text() == "mine"


def test_links_are_not_followed(cache, tmp_path):
    """Neither in the place of a sub-folder, nor in one, nor as a file; the cache folder itself may be a
    link.
    """
    files.make_cache_folder()
    elsewhere = tmp_path / "elsewhere"
    fill(elsewhere)
    before = contents(elsewhere)
    (cache / "kernels").symlink_to(elsewhere / "kernels")
    (cache / "tokens").mkdir()
    (cache / "tokens" / "tmpa_b1c2d3").symlink_to(elsewhere / "tokens" / "tmpa_b1c2d3")
    (cache / "tokens" / "0123456789abcdef01234567.bin").symlink_to(
        elsewhere / "tokens" / "0123456789abcdef01234567.bin"
    )
    cache.rename(tmp_path / "real")
    cache.symlink_to(tmp_path / "real")
    write(cache / "texts" / "0123456789abcdef01234567.txt")
    result = clear()
    assert result.exit_code == 0 and contents(elsewhere) == before
    assert cache.is_symlink() and sorted(contents(cache)) == sorted(
        ["tokens/tmpa_b1c2d3", "tokens/0123456789abcdef01234567.bin"]
    )


def test_a_link_in_a_folder_of_somebody_stays(cache, tmp_path):
    fill(tmp_path / "elsewhere")
    cache.mkdir()
    (cache / "kernels").symlink_to(tmp_path / "elsewhere" / "kernels")
    assert clear().exit_code == 2
    assert (cache / "kernels").is_symlink() and len(contents(tmp_path / "elsewhere")) == 12


def test_the_size_that_is_shown_is_that_of_the_cache_alone(cache):
    fill(cache)
    write(cache / "thesis.txt", "x" * 10_000_000)
    assert files.cache_size() == 12 * len("made")
    assert "(writable, 0.0 MB)" in CliRunner().invoke(main, ["doctor"]).stdout
