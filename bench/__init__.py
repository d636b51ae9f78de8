"""Measurements: `python -m bench`. Not packaged; figures are copied into docs/reference."""
