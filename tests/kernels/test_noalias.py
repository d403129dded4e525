"""What `noalias` tells LLVM must reach the compiled code: a loop over many arrays is else not vectorised."""

import re

import numba
import numpy as np
import pytest

from tinyrnn.kernels import jit, noalias


@pytest.fixture(scope="module")
def llvm():
    """LLVM's optimised code of a loop that reads two arrays and writes a third, compiled as kernels are."""
    (load0, _), (load1, _), (_, store2) = [noalias.access(k, 3) for k in range(3)]

    def loop(a, b, c, n):
        for i in range(n):
            store2(c, i, load0(a, i) * load1(b, i))

    function = numba.njit(nogil=True, error_model="numpy", fastmath=jit.FAST)(loop)
    flat = numba.float32[::1]
    function.compile((flat, flat, flat, numba.int64))
    a, b, c = np.arange(40, dtype=np.float32).reshape(2, 20).tolist(), None, np.zeros(20, np.float32)
    a, b = (np.array(x, np.float32) for x in a)
    function(a, b, c, 20)
    np.testing.assert_array_equal(c, a * b)
    return next(iter(function.inspect_llvm().values()))


def test_each_array_has_a_scope_and_touches_no_other(llvm):
    """Every load and store of an array's elements bears both: its own scope, and all the others."""
    accesses = re.findall(r"^.*(?:load|store) (?:<\d+ x )?float\b.*$", llvm, re.MULTILINE)
    assert len(accesses) >= 3
    lists = dict(re.findall(r"^(!\d+) = !\{(.*)\}$", llvm, re.MULTILINE))
    own = set()
    for line in accesses:
        mine, others = (re.search(rf"!{word} (!\d+)", line) for word in ("alias.scope", "noalias"))
        assert mine and others, line
        scope, rest = lists[mine[1]], lists[others[1]].split(", ")
        assert re.fullmatch(r"!\d+", scope) and scope not in rest and len(rest) == 2
        own.add(scope)
    assert len(own) == 3


def test_no_overlap_is_checked_when_it_runs(llvm):
    assert "vector.body" in llvm and "memcheck" not in llvm
