"""Forecasts of time series, with prediction intervals."""
