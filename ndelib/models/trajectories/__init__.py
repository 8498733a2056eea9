"""Fitting a field to trajectories: shooting through the solver, matching of gradients, growing windows."""
