"""The store: one encrypted SQLite database, one writer thread, one write connection."""
