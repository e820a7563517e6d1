"""Extraction and scoring of many prompts: Parquet in, shards out, on one machine or a cluster."""
