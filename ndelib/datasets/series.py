"""Time series: two Japanese vowels by nine speakers, lynx and hare, sunspots, carbon dioxide above Mauna Loa.

What is not observed is NaN. Licences of the data that lies in this package, in the folder ``data``, are in its
``LICENCE.md``.
"""

from datetime import date, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor

Labelled = tuple[Tensor, Tensor]

HARE = (30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1, 40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6,
        16.2, 24.7)  # fmt: skip
LYNX = (4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4, 8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6)


def japanese_vowels(
    *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> tuple[Labelled, Labelled]:
    """Return 640 recordings of two vowels, a and e, by nine men: ``(x, y), (x_test, y_test)``; whose voice is it?

    Each is a series of 7 to 29 frames, one every 6.4 ms, with 12 cepstrum coefficients of a linear prediction; the
    split into training and test is that of the source.

    Source: Kudo, Toyama & Shimbo, Japanese Vowels, UCI Machine Learning Repository (1999),
    https://doi.org/10.24432/C5NS47; Multidimensional curve classification using passing-through regions, Pattern
    Recognition Letters 20 (1999) 1103. Licence: CC BY 4.0. All six decimals of the source are kept.

    Args:
        device: of series and labels; the CPU if ``None``.
        dtype: of the series; torch's default if ``None``.

    Returns:
        Series (270, 29, 12), NaN after the end of each, and speakers (270,), 0 to 8, for training; 370 for testing.

    Example:
        >>> from ndelib.datasets import japanese_vowels
        >>> (x, y), (x_test, y_test) = japanese_vowels()
        >>> x.shape, y.shape, len(x_test)
        (torch.Size([270, 29, 12]), torch.Size([270]), 370)
        >>> lengths = (~x.isnan()).any(-1).sum(-1)
        >>> lengths.min(), lengths.max()
        (tensor(7), tensor(26))
    """
    millionths, lengths, speakers = _vowels()
    row = torch.arange(29) < lengths[:, None]
    x = torch.full((640, 29, 12), torch.nan, dtype=torch.float64)
    x[row] = millionths.double() / 1e6
    x, y = x.to(device, dtype or torch.get_default_dtype()), speakers.to(device)
    return (x[:270], y[:270]), (x[270:], y[270:])


@lru_cache(maxsize=1)
def _vowels() -> tuple[Tensor, Tensor, Tensor]:
    """Return the frames of all series after each other, (9961, 12), in millionths, their lengths, and the speakers.

    The file has the four bytes of the numbers apart, each channel in the order of time: so it is a fifth smaller.
    """
    with files("ndelib.datasets").joinpath("data/japanese_vowels.npz").open("rb") as file, np.load(file) as stored:
        millionths = np.ascontiguousarray(stored["millionths"].transpose(1, 2, 0)).view("<i4")[..., 0].T
        kept = millionths, stored["lengths"], stored["speakers"]
    frames, lengths, speakers = (torch.from_numpy(part.astype(np.int64)) for part in kept)
    return frames, lengths, speakers


def lynx_hare(*, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Return the years 1900 to 1920, and how many thousand pelts of hares and of lynxes were sold in each.

    Pelts are a proxy for animals: they depend on trappers and prices too. In some other decades of these books the lynx
    leads the hare (Gilpin, Do hares eat lynx?, Am. Nat. 107 (1973) 727), which no predator does.

    Source: the books of the Hudson's Bay Company; the numbers are those of the table in Howard, *Modeling Basics*,
    lecture notes, Texas A&M University (2009), which the case study of Stan (Carpenter, 2018) made the usual one.
    Numbers alone, without a licence.

    Args:
        device: of both; the CPU if ``None``.
        dtype: of both; torch's default if ``None``.

    Returns:
        The years, (21,), and hare and lynx, (21, 2).

    Example:
        >>> from ndelib.datasets import lynx_hare
        >>> year, pelts = lynx_hare()
        >>> year[0], pelts[0]
        (tensor(1900.), tensor([30.,  4.]))
    """
    year, pelts = torch.arange(1900, 1921), torch.tensor([HARE, LYNX], dtype=torch.float64).T
    return _placed(year, device, dtype), _placed(pelts.contiguous(), device, dtype)


def sunspots(*, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Return the years 1700 to 2008, and the mean number of sunspots in each, from statsmodels.

    Source: the yearly sunspot numbers of the National Geophysical Data Center, in statsmodels
    (``statsmodels.datasets.sunspots``), which calls them public domain. Their maker, WDC-SILSO of the Royal Observatory
    of Belgium, gives its numbers under CC BY-NC 4.0. So they are not a part of this package: take them where
    statsmodels is installed, name SILSO, and ask there before a commercial use. These are the numbers of version 1: in
    2015 all were scaled anew.

    Args:
        device: of both; the CPU if ``None``.
        dtype: of both; torch's default if ``None``.

    Returns:
        The years and the numbers, both (309,).

    Raises:
        ImportError: statsmodels is not installed.
    """
    try:
        from statsmodels.datasets import sunspots as bundled
    except ImportError as failure:
        raise ImportError("sunspots() are bundled with statsmodels: pip install statsmodels") from failure
    table = bundled.load_pandas().data
    year, number = (torch.tensor(table[name].to_numpy()) for name in ("YEAR", "SUNACTIVITY"))
    return _placed(year, device, dtype), _placed(number, device, dtype)


def co2(*, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Return every week from 29 March 1958 to 29 December 2001, and the carbon dioxide above Mauna Loa in it, in ppm.

    59 weeks, in 22 gaps of up to 18 weeks, have no value: NaN.

    Source: Keeling & Whorf, Atmospheric CO₂ concentrations derived from flask air samples at sites in the SIO network,
    in *Trends*, CDIAC, Oak Ridge (2004): weekly means of the continuous record of the Scripps CO₂ program, Scripps
    Institution of Oceanography at UC San Diego; as in statsmodels (``statsmodels.datasets.co2``). Licence: CC BY 4.0,
    as that program states for its data.

    Args:
        device: of both; the CPU if ``None``.
        dtype: of both; torch's default if ``None``.

    Returns:
        The time in years of 365.25 days, 1958.0 being the beginning of 1958, and the concentration, both (2284,).

    Example:
        >>> from ndelib.datasets import co2
        >>> t, ppm = co2()
        >>> t.shape, ppm[0], ppm.isnan().sum()
        (torch.Size([2284]), tensor(316.1000), tensor(59))
    """
    with files("ndelib.datasets").joinpath("data/co2.npz").open("rb") as file, np.load(file) as stored:
        tenths = torch.from_numpy(stored["tenths"].astype(np.int64))
    ppm = torch.where(tenths == 0, torch.nan, tenths.double() / 10)
    first = (date(1958, 3, 29) - date(1958, 1, 1)) / timedelta(days=1)
    t = 1958 + (first + 7 * torch.arange(len(ppm), dtype=torch.float64)) / 365.25
    return _placed(t, device, dtype), _placed(ppm, device, dtype)


def _placed(numbers: Tensor, device: torch.device | str | None, dtype: Any) -> Tensor:
    """Return ``numbers`` where they are wanted."""
    return numbers.to(device, dtype or torch.get_default_dtype())
