"""What is fast, measured against the published recipe in the same run: `make bench`."""
