"""`python -m agent` is `qafila`."""

from agent.cli import main

main()
