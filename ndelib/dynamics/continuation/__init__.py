"""Branches of equilibria, cycles and periodic orbits over a parameter, and the points where they change."""
