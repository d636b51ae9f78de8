"""Contec CMS50D+ finger clips, on their serial cable."""
