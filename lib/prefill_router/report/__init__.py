"""Plots, tables, the verdict, the explorer and the pages."""
