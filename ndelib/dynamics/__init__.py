"""Dynamical systems: where a vector field stands still, and what its flow does there."""

from ndelib.dynamics.classification import classify
from ndelib.dynamics.fixed_points import FixedPoint, fixed_points

__all__ = ["FixedPoint", "classify", "fixed_points"]
