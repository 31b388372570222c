"""Functions that only compiled ones call are compiled as parts of these, and nowhere else."""

import numpy as np
import pytest

from index import compiled, inner_code

pytest.importorskip("numba")


def summed(made):
    """A compiled sum over squares, whose loop and product are inner functions."""

    @compiled.inline
    def square(value):
        return value * value

    @compiled.part
    def total(values):
        found = 0.0
        for at in range(len(values)):
            found += square(values[at])
        return found

    @compiled.jit
    def both(values):
        return total(values) + square(values[0])

    made.extend([square, total])
    return both


@pytest.mark.parametrize("known", [True, False])
def test_inner_functions_are_parts_of_their_callers(known, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    if not known:
        monkeypatch.setattr(inner_code, "_PRIVATE", ("no such part",))
    inner_code.inner_pipeline.cache_clear()
    try:
        made = []
        both = summed(made)
    finally:
        inner_code.inner_pipeline.cache_clear()
    values = np.arange(1.0, 9.0)
    assert both(values) == (values**2).sum() + 1
    for function in made:
        (code,) = function.overloads.values()
        name = code.fndesc.llvm_func_name
        assert (code.library.get_pointer_to_function(name) == 0) == known
