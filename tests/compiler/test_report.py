"""What the compiler reports of a step, against figures counted by hand."""

import pytest

import tinyrnn as tr
from tinyrnn.compiler.report import report_cell

F, H = 5, 3

# name, options, products of the state, of x, operations on elements
COUNTS = [
    ("rnn", {}, 2 * H * H, 2 * F * H, 2 * H + H),  # h U + x W + b; tanh
    # i f g o side by side; sigmoid f, times c, sigmoid i, tanh g, times, plus, sigmoid o, tanh c, times
    ("lstm", {}, 2 * H * 4 * H, 2 * F * 4 * H, 2 * 4 * H + 9 * H),
    # x W + b; r and z: plus, sigmoid; r h, plus, tanh; z h, 1 - z, times n, plus
    ("gru", {"reset_after": False}, 2 * H * 2 * H + 2 * H * H, 2 * F * 3 * H, 3 * H + 4 * H + 3 * H + 4 * H),
    # as above, with r (h U_n + b_hn) in the place of r h
    ("gru", {"reset_after": True}, 2 * H * 3 * H, 2 * F * 3 * H, 3 * H + 4 * H + 4 * H + 4 * H),
]


@pytest.mark.parametrize(("name", "options", "of_states", "of_x", "elements"), COUNTS)
def test_operations_are_those_counted_by_hand(name, options, of_states, of_x, elements):
    report = report_cell(tr.RNN(name, F, H, cell_options=options).cells[0])
    assert report.reason is None and str(report) == "compiled"
    assert report.products == (of_states, of_x) and of_states != of_x
    assert report.flops == of_states + of_x + elements
