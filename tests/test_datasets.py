"""The data are what their docstrings say, the same for a seed, and in the dtype asked for."""

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import ndelib.datasets
from ndelib.datasets import annuli, co2, digits, japanese_vowels, lynx_hare, moons, spirals, sunspots

MADE = {"annuli": annuli, "moons": moons, "spirals": spirals}


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    (x, y), (x_test, y_test) = digits(flat=True)
    assert (x.shape, x_test.shape) == ((1348, 64), (449, 64))
    assert x.min() == 0
    assert x.max() == 1
    pixels, labels = load_digits(return_X_y=True)
    ours = sorted(
        (*(16 * row).int().tolist(), label)
        for row, label in zip(torch.cat([x, x_test]), [*y.tolist(), *y_test.tolist()], strict=True)
    )
    assert ours == sorted(
        (*row.astype(int).tolist(), label) for row, label in zip(pixels, labels.tolist(), strict=True)
    )


def test_images_and_vectors_are_the_same_digits():
    (images, _), _ = digits(dtype=torch.float64)
    (vectors, _), _ = digits(flat=True, dtype=torch.float64)
    assert images.shape == (1348, 1, 8, 8)
    assert images.dtype == torch.float64
    assert torch.equal(images.reshape(-1, 64), vectors)


def test_the_split_is_the_seeds():
    (x, y), (x_test, _) = digits(test=0.1)
    assert (len(x), len(x_test)) == (1617, 180)
    assert torch.equal(digits(test=0.1)[0][1], y)
    assert not torch.equal(digits(test=0.1, seed=1)[0][1], y)
    for test in (0.0, 1.0, -0.5, 1e-6):
        with pytest.raises(ValueError, match="test must be a fraction that leaves images on both sides"):
            digits(test=test)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("n", [2, 7, 100])
def test_half_of_each_class_from_a_seed(name, n):
    make = MADE[name]
    x, y = make(n)
    assert (x.shape, y.shape) == ((n, 2), (n,))
    assert y.dtype == torch.long
    assert x.dtype == torch.get_default_dtype()
    assert y.sum() == n // 2
    assert torch.equal(make(n)[0], x)
    assert not torch.equal(make(n, seed=1)[0], x)
    assert torch.allclose(make(n, dtype=torch.float64)[0].float(), x)


@pytest.mark.parametrize("name", MADE)
def test_random_numbers_outside_are_left_alone(name):
    before = torch.get_rng_state()
    MADE[name](10)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_annuli_fill_a_ball_and_a_shell_evenly(dims):
    x, y = annuli(4000, dims=dims, dtype=torch.float64)
    r = x.norm(dim=-1)
    assert r[y == 0].max() <= 0.5
    assert r[y == 1].min() >= 1.0
    assert r[y == 1].max() <= 1.5
    # r^dims is uniform, so its mean is in the middle: within 4 standard deviations of a mean of 2000 numbers
    for label, (low, high) in enumerate([(0.0, 0.5), (1.0, 1.5)]):
        low, high = low**dims, high**dims
        assert abs((r[y == label] ** dims).mean() - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * 2000)
    assert x.mean(0).abs().max() < 4 * 1.5 / math.sqrt(4000)


def test_moons_are_half_circles():
    x, y = moons(500, noise=0.0, dtype=torch.float64)
    centre = torch.where(y[:, None] == 0, torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.5])).double()
    assert torch.allclose((x - centre).norm(dim=-1), torch.ones(500, dtype=torch.float64))
    up = torch.where(y == 0, 1.0, -1.0)
    assert ((x - centre)[:, 1] * up >= -1e-12).all()


def test_spirals_wind_as_often_as_asked():
    x, y = spirals(500, turns=2.0, noise=0.0, dims=4, dtype=torch.float64)
    r = x.norm(dim=-1)
    angle = 2 * math.pi * 2.0 * r + math.pi * y
    assert torch.allclose(x[:, :2], r[:, None] * torch.stack([angle.cos(), angle.sin()], -1))
    assert (x[:, 2:] == 0).all()
    noisy = spirals(500, turns=2.0, noise=0.1, dims=4, dtype=torch.float64)[0]
    assert noisy[:, 2:].std().item() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: annuli(1), r"n must be a number of points, at least 2 \(one in each class\), got 1"),
        (lambda: moons(10.0), "n must be a number of points, at least 2"),
        (lambda: spirals(-3), "n must be a number of points, at least 2"),
        (lambda: annuli(10, dims=0), "dims must be a whole number, at least 1, got 0"),
        (lambda: spirals(10, dims=1), "dims must be a whole number, at least 2, got 1"),
        (lambda: annuli(10, radii=(1.0, 0.5, 1.5)), "radii must grow"),
        (lambda: moons(10, noise=-1.0), "noise must be a standard deviation, not negative"),
    ],
)
def test_wrong_numbers_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_vowels_are_the_series_of_the_source():
    (x, y), (x_test, y_test) = japanese_vowels(dtype=torch.float64)
    assert (x.shape, x_test.shape) == ((270, 29, 12), (370, 29, 12))
    # as the source says: so many utterances of each speaker, 7 to 29 frames, 9961 in all
    assert y.bincount().tolist() == [30] * 9
    assert y_test.bincount().tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    frames = torch.cat([x, x_test]).isfinite()
    lengths = frames.all(-1).sum(-1)
    assert (lengths.min(), lengths.max(), lengths.sum()) == (7, 29, 9961)
    assert torch.equal(frames, (torch.arange(29) < lengths[:, None])[..., None].expand_as(frames))
    # the first and the last frame of the source's files, digit by digit
    assert x[0, 0, :4].tolist() == [1.860936, -0.207383, 0.261557, -0.214562]
    assert x[0, 19, 0].item() == 1.261441
    assert (1e6 * x[frames[:270]]).sub((1e6 * x[frames[:270]]).round()).abs().max() < 1e-9


def test_single_precision_keeps_the_decimals_of_the_vowels():
    exact, rounded = japanese_vowels(dtype=torch.float64)[1][0], japanese_vowels(dtype=torch.float32)[1][0]
    assert (exact - rounded.double()).nan_to_num().abs().max() < 0.5e-6


def test_pelts_are_those_of_the_table():
    year, pelts = lynx_hare(dtype=torch.float64)
    assert year.tolist() == list(range(1900, 1921))
    assert pelts.shape == (21, 2)
    assert pelts[[0, 3, 4, 20]].tolist() == [[30, 4], [77.4, 35.2], [36.3, 59.4], [24.7, 8.6]]
    assert pelts.sum(0).tolist() == pytest.approx([715.7, 423.5])  # added up by hand


def test_carbon_dioxide_has_its_gaps_and_its_seasons():
    t, ppm = co2(dtype=torch.float64)
    assert (len(t), ppm.isnan().sum()) == (2284, 59)
    assert torch.allclose(t.diff(), torch.tensor(7 / 365.25).double())
    assert (ppm[0], ppm[-1]) == (316.1, 371.5)
    gaps = [len(gap) for gap in "".join("x" if nan else " " for nan in ppm.isnan().tolist()).split()]
    assert (len(gaps), max(gaps)) == (22, 18)
    # above its trend it is highest in May, when the northern forests begin to take it up, and lowest in September
    seen = ~ppm.isnan()
    years, month = t[seen] - 1980, (12 * (t[seen] % 1)).long()
    trend = torch.stack([torch.ones_like(years), years, years**2], -1)
    rest = ppm[seen] - trend @ torch.linalg.lstsq(trend, ppm[seen, None]).solution[:, 0]
    season = [rest[month == i].mean() for i in range(12)]
    assert (np.argmax(season) + 1, np.argmin(season) + 1) in [(5, 9), (5, 10)]


def test_sunspots_come_from_statsmodels(monkeypatch):
    table = {"YEAR": np.arange(1700.0, 2009.0), "SUNACTIVITY": np.arange(309.0)}
    frame = types.SimpleNamespace(
        data={name: types.SimpleNamespace(to_numpy=lambda v=v: v) for name, v in table.items()}
    )
    bundled = types.ModuleType("statsmodels.datasets")
    bundled.sunspots = types.SimpleNamespace(load_pandas=lambda: frame)
    monkeypatch.setitem(sys.modules, "statsmodels", types.ModuleType("statsmodels"))
    monkeypatch.setitem(sys.modules, "statsmodels.datasets", bundled)
    year, number = sunspots()
    assert (year[0], year[-1], number[-1]) == (1700, 2008, 308)


def test_sunspots_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.datasets", None)
    with pytest.raises(ImportError, match="bundled with statsmodels: pip install statsmodels"):
        sunspots()


def test_every_file_of_data_has_a_licence():
    folder = Path(ndelib.datasets.__file__).parent / "data"
    licence = (folder / "LICENCE.md").read_text(encoding="utf-8")
    stored = sorted(path.name for path in folder.glob("*.npz"))
    assert stored == ["co2.npz", "japanese_vowels.npz"]
    assert [line.removeprefix("## ") for line in licence.splitlines() if line.startswith("## ")] == stored[::-1]
