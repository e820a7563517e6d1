"""Routing rules, curves, metrics and intervals."""
