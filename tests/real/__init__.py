"""Tests against real peers: QEMU, Xvnc, Chromium, other libraries. All of it is synchronous; no trio runs in here."""

import pytest

#: Modules that assert on behalf of tests, so that a failure shows the values.
pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("browser", "daemon", "reasons", "rfb_client", "xvnc"))
)
