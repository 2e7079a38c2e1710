"""The access endpoint: who may open which machine's console, where the machines are, and the URL that leads there.

``answers``, ``callers``, ``credentials``, ``libvirt_xml``, ``machines``, ``memory``, ``parameters``, ``private_file``,
``signature`` and ``used_signatures`` do no network I/O and know no trio; nothing is imported here, so that they stay
importable without it.
"""
