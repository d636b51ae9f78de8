"""The reference receiver at the central platform, on SQLite.

It knows the wire contract of `sync` and nothing else of ours. The contract, not this program,
is what a platform must honour.
"""
