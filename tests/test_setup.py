"""`ndelib.setup`: the first call of every notebook."""

import random
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import ndelib


@pytest.fixture(autouse=True)
def _leave_threads_as_they_were():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def draw() -> tuple[float, ...]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_same_seed_gives_the_same_numbers_from_all_three_generators():
    ndelib.setup(seed=3)
    first = draw()
    ndelib.setup(seed=3)
    assert draw() == first


def test_another_seed_changes_all_three_generators():
    ndelib.setup(seed=3)
    first = draw()
    ndelib.setup(seed=4)
    assert all(ours != other for ours, other in zip(draw(), first, strict=True))


def test_default_seed_is_zero():
    ndelib.setup()
    first = draw()
    ndelib.setup(seed=0)
    assert draw() == first


def test_returns_the_device_that_tensors_can_live_on():
    device = ndelib.setup()
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert torch.zeros(1, device=device).device.type == device.type


def test_prints_one_line_with_all_versions(capsys):
    device = ndelib.setup()
    line = capsys.readouterr().out
    assert re.fullmatch(r"ndelib \S+ · torch \S+ · numpy \S+ · Python 3\.\d+\.\S+ · (cpu|cuda \(.+\))\n", line)
    for expected in (ndelib.__version__, torch.__version__, np.__version__, device.type):
        assert expected in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="threads are left alone where a GPU computes")
def test_one_thread_on_the_cpu():
    torch.set_num_threads(2)
    ndelib.setup()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("seed", [1.0, "1", None, True])
def test_a_seed_that_is_no_int_is_refused_by_name(seed):
    with pytest.raises(TypeError, match=r"^seed must be an int, not \w+$"):
        ndelib.setup(seed=seed)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused_by_name(seed):
    with pytest.raises(ValueError, match=rf"^seed must be between 0 and 2\*\*32 - 1, not {seed}$"):
        ndelib.setup(seed=seed)


def test_a_refused_seed_changes_nothing():
    ndelib.setup(seed=3)
    first = draw()
    ndelib.setup(seed=3)
    with pytest.raises(ValueError):
        ndelib.setup(seed=-1)
    assert draw() == first


def test_applies_the_figure_style(monkeypatch):
    from ndelib import plotting

    calls = []
    monkeypatch.setattr(plotting, "use_style", lambda: calls.append("style"))
    ndelib.setup()
    assert calls == ["style"]


def in_a_new_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_works_without_matplotlib():
    out = in_a_new_python("import sys; sys.modules['matplotlib'] = None; import ndelib; ndelib.setup()")
    assert out.startswith("ndelib ")


def test_importing_ndelib_imports_no_plotting_and_no_notebook():
    code = (
        "import ndelib, sys; print([m for m in ('matplotlib', 'IPython', 'ipywidgets', 'scipy') if m in sys.modules])"
    )
    assert in_a_new_python(code) == "[]\n"
