"""Settings and code tables. Knows msgspec and tomllib; imports nothing else of ours."""
