"""How a Python function becomes a compiled kernel: Numba options, the cache on disk, and generated source.

Compiled code and generated source live in the user's cache folder (``base/files.py``). A cache that cannot
be written or read costs compile time and one warning, never a run.
"""

import functools
import hashlib
import importlib.util
import sys
import warnings
from pathlib import Path

import numba
from numba.core import caching, cgutils

from ..base.files import (
    SharedFolder,
    cache_folder,
    make_cache_folder,
    refuse_shared,
    replace_file,
    temporary_folder,
)
from . import notice  # from its import on, what compiles for long is announced

# No "nnan" and "ninf": a NaN loss has to stay visible. "reassoc" lets LLVM vectorise sums.
# error_model="numpy" takes the zero check out of divisions, which else keeps a loop from vectorising.
FAST = {"contract", "reassoc", "arcp", "nsz"}


@functools.cache
def source_stamp() -> str:
    """Digest of every kernel source: Numba's cache does not notice an edited helper in another module, this
    does.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


_warned = []


def _warn_once(problem: str):
    if not _warned:
        _warned.append(problem)
        said = f"kernel cache {cache_folder()}: {problem}; kernels are compiled anew"
        warnings.warn_explicit(said, RuntimeWarning, "tinyrnn", 0)  # no line of anybody's code


def _not_writable(error: OSError) -> str:
    said = error.strerror or error
    return f"not used, {said}" if isinstance(error, SharedFolder) else f"not writable ({said})"


class _Locator(caching._CacheLocator):
    """Puts Numba's index and object files into the tinyrnn cache, under the digest of the kernel sources."""

    def __init__(self, function, file):
        self.part = f"kernels/{source_stamp()}"
        self._where = hashlib.sha256(f"{file}:{function.__qualname__}".encode()).hexdigest()[:10]

    def get_cache_path(self):
        return str(cache_folder() / self.part)

    def ensure_cache_path(self):
        make_cache_folder("kernels")
        super().ensure_cache_path()
        refuse_shared(self.part)

    def get_source_stamp(self):
        return source_stamp()

    def get_disambiguator(self):
        return self._where

    @classmethod
    def from_function(cls, function, file):
        return cls(function, file)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(caching.FunctionCache):
    """Numba's function cache, made to survive a folder that is unwritable, full, damaged or written by two at
    once.
    """

    _impl_class = _Implementation

    def load_overload(self, signature, context):
        try:
            with notice.making():
                refuse_shared(self._impl.locator.part)
                return super().load_overload(signature, context)
        except SharedFolder as error:
            _warn_once(_not_writable(error))
            return None
        except Exception as error:  # a damaged pickle may raise nearly anything
            _warn_once(f"unreadable ({type(error).__name__})")
            self._attempt(self.flush)
            return None

    def save_overload(self, signature, result):
        with notice.making():
            self._attempt(super().save_overload, signature, result)

    @staticmethod
    def _attempt(write, *arguments):
        try:
            write(*arguments)
        except OSError as error:
            _warn_once(_not_writable(error))


def jit(function):
    """Compile ``function`` on first call, without the GIL, cached on disk."""
    settings = dict(nogil=True, error_model="numpy", no_cfunc_wrapper=True)  # C calls it at its own address
    dispatcher = numba.njit(**settings, fastmath=FAST)(function)
    try:
        dispatcher._cache = _Cache(function)
    except OSError as error:
        _warn_once(_not_writable(error))
    except RuntimeError as error:  # no locator could make its folder
        _warn_once(f"not usable ({error})")
    return dispatcher


def address_of(kernel, types) -> int:
    """Where the machine code of a kernel for arguments of these types begins, for `call_address`."""
    kernel.compile(types)
    found = kernel.overloads[types]
    return found.library.get_pointer_to_function(found.fndesc.llvm_func_name)


def call_address(context, builder, signature, args):
    """The code of an intrinsic ``(address, *arguments)`` that calls the kernel at an address (`address_of`).

    A kernel that is called by its name is copied into what calls it, and compiled there once more.
    """
    types, convention = signature.args[1:], context.call_conv
    kind = convention.get_function_type(signature.return_type, types).as_pointer()
    function = builder.inttoptr(args[0], kind)
    status, result = convention.call_function(builder, function, signature.return_type, types, args[1:])
    with cgutils.if_unlikely(builder, status.is_error):
        convention.return_status_propagate(builder, status)
    return result


def load_source(name: str, source: str):
    """Run ``source`` as a module with a file in the cache, so that Numba can cache what it defines.

    The file's name carries the digest of its content: files are only ever added, never changed.
    """
    digest = hashlib.sha256((source + source_stamp()).encode()).hexdigest()[:16]
    file = f"{name}_{digest}.py"
    try:
        path = make_cache_folder("generated") / file
        if not path.exists() or path.read_bytes() != source.encode():
            replace_file(path, source.encode())
    except OSError as error:
        _warn_once(_not_writable(error))
        path = temporary_folder() / file
        path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"tinyrnn_generated_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # what Numba loads from its cache names the module
    exec(compile(source, path, "exec"), vars(module))  # what we have, not what lies there by now
    return module
