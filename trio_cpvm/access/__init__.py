"""The access endpoint: who may open which machine's console, where the machines are, and the URL that leads there.

``callers``, ``credentials``, ``limiter``, ``machines``, ``libvirt_xml``, ``parameters``, ``signature`` and ``texts`` do
no network I/O and know no trio; nothing is imported here, so that they stay importable without it.
"""
