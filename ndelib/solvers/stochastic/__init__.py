"""Stochastic equations dy = f dt + g dW: Brownian motion, kinds of noise, the methods and their list (chapter 16)."""
