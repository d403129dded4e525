"""``tinyrnn doctor``: what tinyrnn found on this machine."""

import importlib.metadata
import os
import platform

import click

from ..training.screen import say
from .common import Command, option

_OPTIONAL = (
    "matplotlib tokenizers onnx torch pandas scikit-learn statsforecast sacrebleu seqeval regex h5py".split()
)
_SHOWN = 20  # names of files that are left


@click.command("doctor", cls=Command)
@option("--clear-cache", is_flag=True, help="Delete what tinyrnn made in the cache folder: it is made again.")
def command(clear_cache):
    """Show versions, threads, BLAS, the cache folder, and the GPU or why none is used."""
    from ..base import devices as arrays
    from ..base import threads
    from ..base.files import cache_folder
    from ..base.version import __version__
    from ..nn import registry as plugins
    from ..training.task import TASKS

    if clear_cache:
        _clear()
        return
    versions = " ".join(
        f"{p} {_version(p)}" for p in ("numpy", "numba", "llvmlite", "safetensors", "click", "rich")
    )
    blas = threads.blas_threads()
    rows = {
        "tinyrnn": f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
        "packages": versions,
        "optional": " ".join(f"{p} {_version(p)}" for p in _OPTIONAL),
        "processor": f"{os.cpu_count()} cores, {_cpu_name()}",
        "threads": f"{threads.threads()} (--threads of train, compare, bench)",
        "BLAS": (
            f"{threads.blas_name()}, {f'{blas} threads' if blas else 'threads are not under our control'}"
        ),
        "GPU": arrays.cuda_status(),
        "cache": f"{cache_folder()} ({_writable()})",
        "cells": ", ".join(plugins.registered()) or "none: is the package installed?",
        "tasks": ", ".join(TASKS.registered()),
    }
    for name, value in rows.items():
        say(f"{name:10} {value}")
    for problem in TASKS.broken() + plugins.CELLS.broken():
        say(f"{'broken':10} {problem}")


def _clear():
    from ..base import files
    from ..base.errors import InputError

    folder = files.cache_folder()
    deleted, left = files.clear_cache()
    if not deleted and (left or folder.is_file()):
        raise InputError(
            f"{folder} is no cache of tinyrnn's, nothing in it was deleted: check the variable TINYRNN_CACHE"
        )
    say(f"cache   {folder}" + ("" if deleted else ": there is nothing to delete"))
    for part, count in deleted.items():
        say(f"deleted {part}, {count:,} file{'s' * (count != 1)}")
    for name in left[:_SHOWN]:
        say(f"left    {name}: tinyrnn did not make it")
    if len(left) > _SHOWN:
        say(f"left    {len(left) - _SHOWN:,} more")


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _cpu_name():
    from llvmlite import binding

    from ..kernels import tiles

    features = binding.get_host_cpu_features()
    vector = next(
        (f for f in ("avx512f", "avx2", "avx", "sse2", "neon") if features.get(f)), "no vector unit known"
    )
    low = {"bfloat16": tiles.pair_instruction(), "int8": tiles.bytes_instruction()}
    said = [f"products of {name} by {by}" if by else f"no products of {name}" for name, by in low.items()]
    return f"{binding.get_host_cpu_name()} ({vector}); {', '.join(said)}"


def _writable():
    import tempfile

    from ..base.files import cache_size, make_cache_folder

    try:
        with tempfile.TemporaryFile(dir=make_cache_folder()):
            pass
    except OSError as error:
        return f"NOT writable: {error.strerror}; kernels are compiled anew in every process"
    return f"writable, {cache_size() / 1e6:.1f} MB"
