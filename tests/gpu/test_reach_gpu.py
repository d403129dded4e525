"""Features of several axes, memories and derivatives given by hand in the loops of a GPU."""

import pytest
from reach_steps import FORMS, STEPS, agree, results


@pytest.mark.sample(3)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_as_the_eager_loop_of_the_cpu(cupy, step, form):
    agree(results(step, True, device="cuda", **FORMS[form]), results(step, False, **FORMS[form]))
