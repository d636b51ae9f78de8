"""ProtoCentral HealthyPi 6: leads I, II and V1 at 500 Hz over USB serial. Not a certified device.

The live stream is the `DBLK` blocks of `docs/HP6_DATA_FORMAT.md` in the maker's repository
`Protocentral/healthypi-6-fw` (commit 1325f5eb, format 0x0300).
"""
