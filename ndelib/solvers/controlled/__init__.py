"""Controlled equations dz = g dX: paths through observations, signatures, the log-ODE method (chapter 15)."""
