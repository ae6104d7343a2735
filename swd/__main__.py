"""`python -m swd`."""

from swd.cli import main

main()
