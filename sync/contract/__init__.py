"""The wire contract, version 1, as pure code: bytes in, values out, no input or output.

Clause numbers (`C-…`) are those of `docs/reference/contract.md`; both sides are tested by them.
"""

CONTRACT = 1
