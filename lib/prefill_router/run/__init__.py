"""Profiles, the workspace, running the notebooks, the command lines."""
