"""``python -m trio_cpvm.workers DESCRIPTOR``: how the supervisor starts a worker. Of no use to anybody else."""

import sys

from ..quick_start import quick_imports

with quick_imports():
    from .worker import main

main(int(sys.argv[1]))
