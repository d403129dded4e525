"""docs/autograd.md and docs/compile.md print what they show, and docs/operations.md is what the code says."""

import importlib.util
import io
import linecache
import re
import tokenize
from contextlib import redirect_stdout
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = (DOCS / "autograd.md").read_text(encoding="utf-8")


def shown(block):
    """The lines of output that a block shows: all of its comments."""
    tokens = tokenize.generate_tokens(io.StringIO(block).readline)
    return [
        token.string.removeprefix("#").removeprefix(" ") for token in tokens if token.type == tokenize.COMMENT
    ]


def run(page):
    """Run the Python blocks of ``page`` in order in one namespace and compare what they print; return their
    number.
    """
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    namespace, before = {"__name__": "page"}, 0
    script = "".join(blocks).splitlines(keepends=True)
    linecache.cache["my_script.py"] = 0, None, script, "my_script.py"  # whose lines messages quote
    for number, block in enumerate(blocks, 1):
        where = f"block {number}, which starts with {block.splitlines()[0]!r}"
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                exec(compile("\n" * before + block, "my_script.py", "exec"), namespace)
        except Exception as error:
            raise AssertionError(f"{where}, raised {error!r}") from error
        assert printed.getvalue().splitlines() == shown(block), where
        before += len(block.splitlines())
    return len(blocks)


def test_the_tutorial_prints_what_it_shows():
    assert run(TUTORIAL) >= 20


def test_the_page_on_compiling_prints_what_it_shows():
    assert run((DOCS / "compile.md").read_text(encoding="utf-8")) == 3


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("x = 1\nprint(x)  # 2", "block 2, which starts with 'x = 1'"),
        ("print(1)", "block 2"),
        ("y = 1  # 1", "block 2"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_page_that_went_stale_is_noticed(block, said):
    with pytest.raises(AssertionError, match=re.escape(said)):
        run(f"```python\nx = 0\n```\n\n```python\n{block}\n```\n")


def test_the_tutorial_can_be_read_at_128_columns():
    assert [line for line in TUTORIAL.splitlines() if len(line) > 128] == []


def test_the_table_of_operations_is_current():
    spec = importlib.util.spec_from_file_location("make_operations", DOCS / "make_operations.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    current = script.PAGE.read_text(encoding="utf-8") == script.page()
    assert current, "run python docs/make_operations.py"
