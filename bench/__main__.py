"""Run every measurement, or those that are named: `python -m bench [NAME…]`."""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules

import bench


def main(names: list[str]) -> int:
    """Each module of this folder that has a `main()` is a measurement; it prints its table."""
    modules = {
        each.name: import_module(f"bench.{each.name}")
        for each in iter_modules(bench.__path__)
        if each.name != "__main__"
    }
    known = {name: module for name, module in modules.items() if hasattr(module, "main")}
    if unknown := set(names) - set(known):
        sys.stderr.write(f"no {', '.join(unknown)}; there is: {', '.join(known)}\n")
        return 2
    for name in names or known:
        sys.stdout.write(f"\n{name}: {str(known[name].__doc__).splitlines()[0]}\n\n")
        sys.stdout.flush()
        known[name].main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
