"""Damage of the database: found, set aside untouched, and salvaged page by page."""
