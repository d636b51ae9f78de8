"""The root of the star: composition, store, supervisor, command line, control socket."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("qafila")
except PackageNotFoundError:  # a source tree that nobody installed
    __version__ = "0+source"
