"""The system VM: what a platform says at boot, and the files that follow from it.

``parameters`` reads what the platform says, ``plan`` makes the files' texts of it; both do no I/O. ``boot`` finds the
one and writes the other. Nothing here runs trio, and nothing of the proxy knows this package.
"""
