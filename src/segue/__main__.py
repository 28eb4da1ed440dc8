"""`python -m segue` is the command line."""

from .cli import main

main()
