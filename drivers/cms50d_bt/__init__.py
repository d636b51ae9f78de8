"""Contec CMS50D-BT finger clips."""
