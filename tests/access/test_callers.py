"""The callers' file: what it may say, every fault with its key path and without its value, and new callers."""

from __future__ import annotations

import pytest

from trio_cpvm.access.callers import Caller, bearer_digest, new_caller, parse_callers
from trio_cpvm.access.machines import Machine, MachineState
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.models import Secret

DIGEST = bearer_digest("a bearer key")


def machine(machine_id: str, name: str = "Web 1") -> Machine:
    return Machine(id=machine_id, name=name, state=MachineState.RUNNING)


def test_callers_are_found_by_what_they_show() -> None:
    callers = parse_callers(
        f"""
        [callers.alice]
        bearer_sha256 = ["{DIGEST}"]
        machines = ["*"]
        [callers."bob@example.com"]
        api_key = "K"
        secret_key = "S"
        """,
        "x.toml",
    )
    alice, bob = callers.named("alice"), callers.named("bob@example.com")
    assert alice == Caller(name="alice", bearer_sha256=(DIGEST,), machines=("*",))
    assert bob == Caller(name="bob@example.com", api_key="K", secret_key=Secret("S"))
    assert callers.with_bearer_key("a bearer key") is alice
    assert callers.with_api_key("K") is bob
    assert callers.with_bearer_key(DIGEST) is callers.with_api_key("") is callers.named("carol") is None
    assert len(callers) == 2
    assert len(parse_callers("", "x.toml")) == 0


@pytest.mark.parametrize(
    ("patterns", "machine_id", "name", "may"),
    [
        ((), "vm-1", "", False),
        (("*",), "vm-1", "", True),
        (("vm-1",), "vm-1", "", True),
        (("vm-1",), "vm-11", "", False),
        (("vm-?", "db-*"), "db-7", "", True),
        (("VM-*",), "vm-1", "", False),
        (("a*", "b*"), "vm-a", "a", False),
        (("vm[1-3]", "name:x|y"), "vm2", "", True),
        (("name:x|y", "vm|z"), "z", "x", False),
        (("name:x", "*\n"), "x", "x\n", False),
        (("web*",), "x", "web 1", False),
        (("name:web*",), "x", "web 1", True),
        (("name:web*",), "web", "db", False),
    ],
)
def test_patterns_say_which_machines(patterns: tuple[str, ...], machine_id: str, name: str, may: bool) -> None:
    assert Caller(machines=patterns).may_open(machine(machine_id, name)) is may


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("x = 1", ["x: unknown key"]),
        ("callers = 1", ["callers: expected tables [callers.NAME]"]),
        ("[callers]\na = 1", ["callers.a: expected a table"]),
        ("[callers.a]\nname = 'x'", ["callers.a.name: unknown key"]),
        ("[callers.a]\nkey = 'hush'", ["callers.a.key: unknown key"]),
        ("[callers.a]\nsecret_key = 12345", ["callers.a.secret_key: expected a text"]),
        (
            "[callers.a]\nbearer_sha256 = ['hush']",
            ["callers.a.bearer_sha256: expected SHA-256 digests of 64 hexadecimal digits"],
        ),
        (
            f"[callers.a]\nbearer_sha256 = ['{bearer_digest('')}']",
            ["callers.a.bearer_sha256: that is the digest of no key at all"],
        ),
        ("[callers.a]\nbearer_sha256 = [12345]", ["callers.a.bearer_sha256[0]: expected a text"]),
        ("[callers.a]\nmachines = ['']", ["callers.a.machines: an empty pattern fits no machine"]),
        ("[callers.a]\napi_key = 'hush'", ["callers.a: api_key and secret_key go together"]),
        (
            f"[callers.a]\nbearer_sha256 = ['{DIGEST}']\n[callers.b]\nbearer_sha256 = ['{DIGEST}']",
            ["callers.b: has a key of callers.a"],
        ),
        (
            "[callers.'a:b']",
            ["callers.a:b: a name has up to 64 letters, digits and . _ @ -, the first a letter or digit"],
        ),
    ],
)
def test_faults_name_the_key_and_never_the_value(text: str, faults: list[str]) -> None:
    with pytest.raises(BadConfiguration) as caught:
        parse_callers(text, "x.toml")
    assert str(caught.value).splitlines() == [f"x.toml: {fault}" for fault in faults]
    assert not {"hush", "12345", DIGEST} & set(str(caught.value).replace(":", " ").split())


def test_a_new_caller_is_ready_to_be_entered() -> None:
    new = new_caller("carol", bearer=True, signed=True, machines=["vm-*", 'name:"ä\\"'])
    callers = parse_callers(new.snippet, "x.toml")
    carol = callers.named("carol")
    assert carol is not None
    assert callers.with_bearer_key(new.bearer_key.reveal()) is carol
    assert new.bearer_key.reveal() not in new.snippet
    assert (carol.api_key, carol.secret_key) == (new.api_key, new.secret_key)
    assert carol.machines == ("vm-*", 'name:"ä\\"')
    assert len(new.bearer_key.reveal()) == 43
    for text in (repr(new), repr(carol)):
        assert new.secret_key.reveal() not in text
        assert new.bearer_key.reveal() not in text


def test_a_new_caller_may_be_one_that_only_looks() -> None:
    new = new_caller("dave", bearer=True, signed=False, machines=["*"], view_only=True)
    found = parse_callers(new.snippet, "x.toml").named("dave")
    assert found is not None
    assert found.view_only
    plain = new_caller("dave", bearer=True, signed=False, machines=["*"])
    assert "view_only" not in plain.snippet


def test_each_new_caller_has_keys_of_its_own_and_only_those_asked_for() -> None:
    one, two = (new_caller("c", bearer=True, signed=False, machines=[]) for _ in range(2))
    assert one.bearer_key != two.bearer_key
    assert "secret_key" not in one.snippet
    signed = new_caller("c", bearer=False, signed=True, machines=[])
    assert not signed.bearer_key
    assert "bearer_sha256" not in signed.snippet


@pytest.mark.parametrize(
    ("name", "machines"), [("", []), ("a:b", []), ("a b", []), ("-a", []), ("a", ["\n"]), ("a", [""])]
)
def test_callers_that_cannot_be(name: str, machines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"name|pattern"):
        new_caller(name, bearer=True, signed=False, machines=machines)
