"""``trio-cpvm repl``: the names in reach, and a session typed into its standard input."""

from __future__ import annotations

import re
import subprocess
import sys

from trio_cpvm.repl import HELP, names


def typed(*lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trio_cpvm", "repl"],
        input="".join(line + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_help_names_nothing_that_is_not_there() -> None:
    promised = re.findall(r"\w+", HELP.partition("In reach: ")[2].partition(". A handshake")[0])
    assert "open_probe" in promised
    assert set(promised) <= names().keys()


def test_a_console_can_be_probed_at_the_prompt() -> None:
    done = typed(
        'server = ScriptedVncServer(password="secret", name="web-01")',
        'probe = await open_probe(server, password="secret")',
        "await probe.step()",
        "print('outcome', (await probe.run()).security)",
        "print('events', server.events)",
        "token = mint_token(ConsoleTarget(host='h', port=1, password=Secret('s3cret')), key := TokenKey.generate())",
        "open_token(token, [key])",
        "print('status', errors.KILLED.close_code)",
    )
    assert done.returncode == 0
    assert done.stdout.startswith(HELP)
    assert "SendToClient(b'RFB 003.008\\n', 'version')" in done.stdout
    assert "outcome VncAuth(2)\n" in done.stdout
    assert "events ['version', 'security', 'challenge ok', 'client-init'" in done.stdout
    assert "ConsoleTarget(host='h', port=1, username='', password=Secret('***')" in done.stdout
    assert "status 4411\n" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_mistake_is_shown_and_the_prompt_comes_back() -> None:
    done = typed("nonsense", "print('still here')")
    assert done.returncode == 0
    assert "NameError: name 'nonsense' is not defined" in done.stderr
    assert "still here\n" in done.stdout
