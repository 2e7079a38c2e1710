"""``make bench``: this daemon, websockify and no proxy at all, side by side. ``docs/performance.rst`` says how.

It starts programs and reads what they print; nothing of the product is imported, except by ``tokens``, which is a
program of its own.
"""
