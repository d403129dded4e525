"""The cache folder: which one it is, what tinyrnn writes there, and that nothing else is ever deleted."""

import importlib.util
import os
import pickle
import py_compile
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
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


def fill(folder, marked=False):
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
    if marked:
        for part in dict.fromkeys(name.partition("/")[0] for name in names):
            files.make_cache_folder(part)
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
        assert (cache / files.MARKER).read_bytes() == (cache / "texts" / files.MARKER).read_bytes()
        shutil.rmtree(cache / "texts")
        (cache / files.MARKER).unlink()


def test_a_folder_of_somebody_gets_no_marker(cache):
    """Programs that make backups pass over a folder with the marker."""
    write(cache / "thesis.txt")
    sources.resolve([])
    assert {p.name for p in cache.iterdir()} == {"thesis.txt", "texts"}
    (cache / "tokens").mkdir()
    write(cache / "tokens" / "mine.txt")
    assert not (files.make_cache_folder("tokens") / files.MARKER).exists()


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


@pytest.mark.parametrize("marked", ["cache", "parts"])
def test_what_tinyrnn_did_not_make_stays(cache, marked):
    """User files beside the cache's, in its sub-folders, and in sub-folders of the same names."""
    if marked == "cache":  # which somebody's project may be that holds a copy of the marker
        files.make_cache_folder()
    else:
        write(cache / "thesis.txt")
        fill(cache, marked=True)
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
    files.make_cache_folder()
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


def test_nothing_is_deleted_without_the_marker_whatever_it_is_called(cache):
    """A project may have folders and files whose names are of the same forms."""
    fill(cache)
    before = contents(cache)
    assert clear().exit_code == 2 and contents(cache) == before
    for part in ("kernels", "generated"):  # the marker of another program, and one that is a link
        write(cache / part / files.MARKER, "Signature: 8a477f597d28d172789f06886806bc55\n")
    (cache / files.MARKER).symlink_to(files.make_cache_folder("other") / files.MARKER)
    before = contents(cache)
    assert clear().exit_code == 2 and contents(cache) == before


def test_two_that_clear_at_once_and_one_that_writes_meanwhile(cache, monkeypatch):
    files.make_cache_folder()
    fill(cache)
    usual = Path.unlink

    def overtaken(path, missing_ok=False):
        usual(path)  # the other was quicker
        if path.suffix == ".txt":
            write(path.parent / "0123456789abcdef01234568.txt", "made meanwhile")
        usual(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", overtaken)
    result = clear()
    assert result.exit_code == 0, result.output
    assert list(contents(cache)) == ["texts/0123456789abcdef01234568.txt"]


# ------------------------------------------------------------------ who can write there

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are POSIX's")


@posix
def test_what_tinyrnn_makes_is_open_to_nobody_else(cache):
    usual = os.umask(0o022)
    try:
        for part in ("kernels", "generated", "reports", "texts", "tokens"):
            assert files.make_cache_folder(part).stat().st_mode & 0o777 == 0o700
        (cache / "kernels").chmod(0o755)  # made by an earlier version
        cache.chmod(0o755)
        assert files.make_cache_folder("kernels").stat().st_mode & 0o777 == 0o700
        assert cache.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(usual)


@posix
@pytest.mark.parametrize("part", ["", "kernels", "generated", "reports", "texts", "tokens"])
@pytest.mark.parametrize("mode", [0o775, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_can_write_to_is_not_used(cache, part, mode):
    folder = files.make_cache_folder(part)
    folder.chmod(mode)
    with pytest.raises(files.SharedFolder, match="others can write to .* chmod -R go-w"):
        files.make_cache_folder(part or "kernels")
    assert folder.stat().st_mode & 0o7777 == mode  # what lies there may be theirs already
    subprocess.run(["chmod", "-R", "go-w", folder], check=True)
    files.make_cache_folder(part)


@posix
@pytest.mark.parametrize("part", ["", "generated"])
def test_a_folder_of_somebody_else_is_not_used(cache, monkeypatch, part):
    files.make_cache_folder(part)
    usual = Path.stat

    def stat(path, **settings):
        found = usual(path, **settings)
        theirs = path == cache / part
        return os.stat_result([*found[:4], os.geteuid() + 1, *found[5:]]) if theirs else found

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(files.SharedFolder, match="belongs to somebody else.*set TINYRNN_CACHE"):
        files.make_cache_folder(part or "kernels")


PLANTED = "from pathlib import Path; Path({sentinel!r}).touch()"
USE = "import tinyrnn as tr; print(tr.sigmoid(tr.tensor([0.0])).item())"


@pytest.mark.sample(2)
@posix
@pytest.mark.parametrize("part", ["", "kernels", "kernels/" + 16 * "?", "generated"])
def test_kernels_and_sources_of_a_shared_folder_are_not_run(cache, tmp_path, part):
    """Neither Numba's pickles nor compiled Python beside the sources; one sentence says why."""

    def use():
        command = [sys.executable, "-c", USE]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    class Planted:
        def __reduce__(self):
            return exec, (PLANTED.format(sentinel=str(tmp_path / "sentinel")),)

    assert use().stdout == "0.5\n"
    for index in cache.rglob("*.nbi") if part != "generated" else ():
        index.write_bytes(pickle.dumps(numba.__version__) + pickle.dumps(Planted()))
    for source in cache.glob("generated/*.py"):
        bad = write(tmp_path / source.name, PLANTED.format(sentinel=str(tmp_path / "sentinel")))
        code = py_compile.compile(str(bad), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        target = Path(importlib.util.cache_from_source(str(source)))
        target.parent.mkdir(exist_ok=True)
        shutil.copy(code, target)
    folder = next(cache.glob(part)) if part else cache
    folder.chmod(0o777)
    result = use()
    assert result.stdout == "0.5\n" and result.stderr.count("Warning") == 1
    assert f"not used, others can write to {folder}, and code" in result.stderr
    assert not (tmp_path / "sentinel").exists()
    folder.chmod(0o700)
    use()  # in a folder of our own pickles are read: that is why others must not write there
    assert (tmp_path / "sentinel").exists() == (part != "generated")


@posix
def test_a_user_without_home_has_a_cache(monkeypatch, tmp_path):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("TINYRNN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")
    assert files.make_cache_folder("kernels") == tmp_path / f"tinyrnn-{os.getuid()}" / "kernels"


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
