"""Where orbits end and what is there: omega-limit sets, Lyapunov exponents, basins, dimensions."""

from ndelib.dynamics.attractors.basins import Basins, basins
from ndelib.dynamics.attractors.box_counting import BoxDimension, box_dimension
from ndelib.dynamics.attractors.exponents import lyapunov_spectrum, map_lyapunov_spectrum
from ndelib.dynamics.attractors.omega_limit import OmegaLimitSets, omega_limit_sets
from ndelib.dynamics.attractors.spectrum import LyapunovSpectrum
from ndelib.dynamics.attractors.uncertainty import UncertaintyExponent, uncertainty_exponent

__all__ = [
    "Basins",
    "BoxDimension",
    "LyapunovSpectrum",
    "OmegaLimitSets",
    "UncertaintyExponent",
    "basins",
    "box_dimension",
    "lyapunov_spectrum",
    "map_lyapunov_spectrum",
    "omega_limit_sets",
    "uncertainty_exponent",
]
