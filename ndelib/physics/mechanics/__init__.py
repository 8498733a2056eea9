"""Lagrange's and Hamilton's equations of any L or H, and what they conserve, by automatic differentiation."""
