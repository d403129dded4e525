"""``tinyrnn doctor``: what tinyrnn found on this machine."""

import importlib.metadata
import os
import platform

import click

from .common import Command, option


@click.command("doctor", cls=Command)
@option("--clear-cache", is_flag=True, help="Delete compiled kernels and token files; they are made again when needed.")
def command(clear_cache):
    """Show versions, threads, BLAS, the cache folder, and the GPU or why none is used."""
    import shutil

    from .. import __version__, plugins
    from ..errors import InputError
    from ..kernels import arrays, threads
    from ..kernels.files import cache_folder

    if clear_cache:
        shutil.rmtree(cache_folder(), ignore_errors=True)
        if cache_folder().exists():
            raise InputError(f"{cache_folder()} could not be deleted: check its permissions")
        click.echo(f"deleted {cache_folder()}")
        return
    broken = []
    for entry in plugins.registered().values():
        try:
            entry.load()
        except InputError as error:
            broken.append(str(error))
    versions = " ".join(f"{p} {_version(p)}" for p in ("numpy", "numba", "llvmlite", "safetensors", "click", "rich"))
    blas = threads.blas_threads()
    rows = {
        "tinyrnn": f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
        "packages": versions,
        "optional": " ".join(f"{p} {_version(p)}" for p in ("matplotlib", "tokenizers", "onnx", "torch")),
        "processor": f"{os.cpu_count()} cores, {_cpu_name()}",
        "threads": f"{threads.threads()} (--threads of train, compare, bench)",
        "BLAS": f"{threads.blas_name()}, {f'{blas} threads' if blas else 'threads are not under our control'}",
        "GPU": arrays.cuda_status(),
        "cache": f"{cache_folder()} ({_writable(cache_folder())})",
        "cells": ", ".join(plugins.registered()) or "none: is the package installed?",
    }
    for name, value in rows.items():
        click.echo(f"{name:10} {value}")
    for problem in broken:
        click.echo(f"{'broken':10} {problem}")


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _cpu_name():
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    vector = next((f for f in ("avx512f", "avx2", "avx", "sse2", "neon") if features.get(f)), "no vector unit known")
    return f"{binding.get_host_cpu_name()} ({vector})"


def _writable(folder):
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return f"NOT writable: {error.strerror}; kernels are compiled anew in every process"
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return f"writable, {size / 1e6:.1f} MB"
