"""`python -m celebahq`."""

from celebahq.cli import main

main()
