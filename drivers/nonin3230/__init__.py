"""Nonin 3230 finger clips, by the service of Nonin."""
