"""`python -m zombiewatch` is the command `zombiewatch`."""

from zombiewatch.cli import main

main()
