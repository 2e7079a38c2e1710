"""A program: console tokens by the thousand, each for a machine of its own, as paths for the load generator.

Usage: ``tokens.py KEY-FILE HOST PORT PASSWORD NUMBER``; prints one path a line. A platform that shares the daemon's
key does the same.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from urllib.parse import quote

from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.token import mint_token, new_session_uuid, read_key_file

#: Longer than any run, in seconds.
LIFE_S = 3600.0


def main(key_file: str, host: str, port: str, password: str, number: str) -> None:
    """Print the paths."""
    key = read_key_file(Path(key_file))
    for machine in range(int(number)):
        target = ConsoleTarget(
            host=host,
            port=int(port),
            password=Secret(password),
            vm_id=f"machine-{machine}",
            session_uuid=new_session_uuid(),
            not_after=time.time() + LIFE_S,
        )
        print(f"/websockify?token={quote(mint_token(target, key), safe='')}")


if __name__ == "__main__":
    main(*sys.argv[1:])
