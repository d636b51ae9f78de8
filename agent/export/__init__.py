"""Sealed export: what the centre lacks, on a stick that only the centre can read."""
