"""Streams of fixed frames, told apart by a table: bench inputs, not for patients.

One declarative framer reads them all (`layout`, `framer`); a board is a folder with a card, its
row of the table, and its name. The HealthyPi v4 uses the framer too.
"""
