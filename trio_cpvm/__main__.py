"""``python -m trio_cpvm``: the command line."""

from .cli import main

main()
