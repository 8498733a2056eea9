"""Forecasts from a time series: linear flows, reservoirs, delay coordinates, and how long a forecast holds."""
