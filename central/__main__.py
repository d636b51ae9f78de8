"""`python -m central` is `qafila-central`."""

from central.cli import main

main()
