"""Outcomes, splits, costs and prices, and the sources of outcomes."""
