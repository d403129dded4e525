"""In a notebook a run has the same bar as in a terminal."""

import pytest

from tinyrnn.training import screen

CELL = """
import tinyrnn as tr
run = tr.train("text.txt", hidden=8, embed=4, seq_len=10, batch_size=4, steps=40, eval_every=1)
run
"""


@pytest.mark.filterwarnings("ignore")  # of the libraries that run notebooks
def test_a_notebook_shows_the_bar_the_lines_and_the_run(text_file, monkeypatch):
    pytest.importorskip("ipywidgets")
    pytest.importorskip("ipykernel")
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("TINYRNN_COMPILE", "python")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    resources = {"metadata": {"path": str(text_file.parent)}}
    nbclient.NotebookClient(book, timeout=300, resources=resources).execute()
    outputs = book.cells[0].outputs
    texts = [o.get("text") or o["data"].get("text/plain", "") for o in outputs]
    assert any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in outputs)
    assert any(text.startswith("model       ln-gru, 2 x 8") for text in texts)
    steps = [text.split()[1] for text in texts if "validation " in text and text.startswith("step")]
    assert steps == [str(n) for n in range(1, 41)]  # none went into the bar's place, which is wiped
    assert texts[-1].startswith("Run('runs/text-ln-gru': lm, ln-gru, step 40, validation loss ")


def test_here_is_no_notebook():
    assert not screen.in_notebook()
