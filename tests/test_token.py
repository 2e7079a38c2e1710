"""The token against CloudStack's vectors (computed with an independent AES), every spelling, and hostile input."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.errors import TOKEN_EXPIRED, TOKEN_INVALID, TOKEN_MISSING, BadConfiguration, ConsoleError
from trio_cpvm.models import Clipboard, ConsoleTarget, Secret
from trio_cpvm.token import (
    TokenInvalid,
    TokenKey,
    TokenReader,
    mint_token,
    open_token,
    read_key_file,
    seal_token,
    target_from_json,
    target_to_json,
    write_key_file,
)
from trio_cpvm.token.fields import TargetInvalid

KEY = TokenKey(bytes(range(0x10)), bytes(range(0x10, 0x20)))
OTHER_KEY = TokenKey(b"k" * 16, b"i" * 16)
NONCE = bytes(range(0x64, 0x70))
PASSWORD_JSON = '{"base64EncodedKeyBytes":"AAECAwQFBgcICQoLDA0ODw","base64EncodedIvBytes":"EBESExQVFhcYGRobHB0eHw"}'
PLAINTEXT = '{"clientHostAddress":"10.0.0.5","clientHostPort":5901,"sessionRequiresNewViewer":false}'
GCM_TOKEN = (
    "ZGVmZ2hpamtsbW5v+ijGwaG5ztuF3KTZdaIJPPn21IxgHXtXA4QOLYlw+WKxrWqKFBnrzebTuwWR3TRPwmeDfjCK3GGCNKKki6kJJ3+GDr5x"
    "PMqsU3pk3EnUvwkR08kGcdlmsR1IcgOsAKsaZOVPpxcPCA=="
)
CBC_TOKEN = (
    "sQ0_zi1jBjbcI0QUNuWfVNtkYPaXu3z0oobOi3OGsXMMsdGwvo0pbP-l-_JHJuH-OER0Uqm8-Q20zlblyrNjsUJM8QDbq2r1v5OSxW6aJrS-qHWQ"
    "Bui_Rw_OoBAsdzvM"
)
TARGET = ConsoleTarget(host="10.0.0.5", port=5901)


def test_seals_cloudstacks_vector_byte_for_byte() -> None:
    assert target_to_json(TARGET) == PLAINTEXT
    assert seal_token(PLAINTEXT, KEY, nonce=NONCE) == GCM_TOKEN


def test_opens_cloudstacks_vectors() -> None:
    assert open_token(GCM_TOKEN, [KEY]) == TARGET
    assert open_token(CBC_TOKEN, [KEY], accept_legacy_cbc=True) == TARGET


def test_legacy_cbc_is_refused_unless_allowed() -> None:
    with pytest.raises(TokenInvalid):
        open_token(CBC_TOKEN, [KEY])


SPELLINGS = {
    "raw": GCM_TOKEN,
    "percent-encoded": quote(GCM_TOKEN, safe=""),
    "percent-encoded twice": quote(quote(GCM_TOKEN, safe=""), safe=""),
    "no padding": GCM_TOKEN.rstrip("="),
    "half the padding": GCM_TOKEN[:-1],
    "url-safe alphabet": GCM_TOKEN.replace("+", "-").replace("/", "_"),
    "url-safe without padding": GCM_TOKEN.replace("+", "-").replace("/", "_").rstrip("="),
    "space for plus": GCM_TOKEN.replace("+", " "),
    "encoded space for plus": GCM_TOKEN.replace("+", "%20"),
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_tolerated_spelling(spelled: str) -> None:
    assert open_token(spelled, [KEY]) == TARGET


def test_any_of_several_keys_opens_and_a_foreign_one_does_not() -> None:
    assert open_token(GCM_TOKEN, [OTHER_KEY, KEY]) == TARGET
    with pytest.raises(TokenInvalid):
        open_token(GCM_TOKEN, [OTHER_KEY])


def test_every_altered_byte_is_noticed() -> None:
    blob = base64.b64decode(GCM_TOKEN)
    for i in range(len(blob)):
        altered = blob[:i] + bytes([blob[i] ^ 1]) + blob[i + 1 :]
        with pytest.raises(TokenInvalid):
            open_token(base64.b64encode(altered).decode(), [KEY])


def test_every_cut_is_noticed() -> None:
    for i in range(len(GCM_TOKEN.rstrip("=")) - 1):
        with pytest.raises(TokenInvalid):
            open_token(GCM_TOKEN[:i], [KEY], accept_legacy_cbc=True)


FULL = ConsoleTarget(
    host="fe80::1",
    port=5900,
    username="bob",
    password=Secret("pa55\u00e9"),
    vm_id="8a7f",
    name="Web ☃",
    locale="de",
    ticket=Secret("t"),
    tunnel_url="https://x/console?a=1",
    tunnel_session=Secret("OpaqueRef:1"),
    websocket_url="wss://esx/ticket/1",
    source_ip="192.0.2.7",
    session_uuid="u-1",
    extra_token=Secret("e"),
    needs_new_viewer=True,
    not_after=1893456000.5,
    view_only=True,
    clipboard=Clipboard.TO_GUEST,
    clipboard_max_bytes=4096,
    user="alice ☃",
)


def test_every_field_survives() -> None:
    assert open_token(mint_token(FULL, KEY), [KEY]) == FULL
    assert not attrs.asdict(FULL).keys() - {a.name for a in attrs.fields(ConsoleTarget)}
    assert all(getattr(FULL, a.name) != a.default for a in attrs.fields(ConsoleTarget)), "a field is missing above"


def test_a_users_name_is_cut_and_cleaned_whoever_wrote_it() -> None:
    data = json.loads(PLAINTEXT) | {"consoleUser": "a\u202eb\n" + "x" * 100}
    user = target_from_json(json.dumps(data)).user
    assert (user[:4], len(user), user.isprintable()) == ("a b ", 64, True)
    assert target_from_json(json.dumps(json.loads(PLAINTEXT) | {"username": "root"})).user == ""


def test_unknown_fields_are_ignored_and_nulls_are_absent() -> None:
    data = json.loads(PLAINTEXT) | {"ajaxSessionId": "x", "clientIp": None, "clientTag": None, "futureThing": [1, {}]}
    assert target_from_json(json.dumps(data)) == TARGET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "{" * 10,
        '{"clientHostAddress":"h"}',
        '{"clientHostAddress":"","clientHostPort":1}',
        '{"clientHostAddress":"h","clientHostPort":0}',
        '{"clientHostAddress":"h","clientHostPort":-1}',
        '{"clientHostAddress":"h","clientHostPort":65536}',
        '{"clientHostAddress":"h","clientHostPort":"5901"}',
        '{"clientHostAddress":"h","clientHostPort":true}',
        '{"clientHostAddress":7,"clientHostPort":1}',
        '{"clientHostAddress":"h","clientHostPort":1,"notAfter":"soon"}',
        '{"clientHostAddress":"h","clientHostPort":1,"notAfter":NaN}',
        '{"clientHostAddress":"h","clientHostPort":1,"viewOnly":1}',
        '{"clientHostAddress":"h","clientHostPort":1,"clipboard":"some"}',
        '{"clientHostAddress":"h","clientHostPort":1,"clipboard":true}',
        '{"clientHostAddress":"h","clientHostPort":1,"clipboardMaxBytes":-1}',
        '{"clientHostAddress":"h","clientHostPort":1,"clipboardMaxBytes":1.5}',
        '{"clientHostAddress":"h","clientHostPort":1,"clipboardMaxBytes":true}',
        '{"clientHostAddress":"h","clientHostPort":1,"clipboardMaxBytes":16777217}',
        json.dumps({"clientHostAddress": "h" * 2049, "clientHostPort": 1}),
        "[" * 100_000,
    ],
)
def test_unfit_plaintexts_are_one_error(text: str) -> None:
    with pytest.raises(TargetInvalid):
        target_from_json(text)
    with pytest.raises(TokenInvalid):
        open_token(seal_token(text, KEY)[:8000], [KEY])


@given(st.text())
def test_noise_is_never_more_than_invalid(noise: str) -> None:
    with pytest.raises(TokenInvalid):
        open_token(noise, [KEY], accept_legacy_cbc=True)


@given(st.binary(max_size=400))
def test_noise_in_base64_is_never_more_than_invalid(noise: bytes) -> None:
    with pytest.raises(TokenInvalid):
        open_token(base64.b64encode(noise).decode(), [KEY], accept_legacy_cbc=True)


@given(st.binary(max_size=200))
def test_sealed_noise_is_invalid_or_by_chance_a_target(noise: bytes) -> None:
    try:
        target = open_token(seal_token(noise.decode("latin-1"), KEY), [KEY])
    except TokenInvalid:
        return
    assert target == target_from_json(noise.decode("latin-1"))


def slug_of(reader: TokenReader, spelled: str | None, now: float) -> str:
    with pytest.raises(ConsoleError) as caught:
        reader.read(spelled, now=now)
    return caught.value.reason.slug


def test_the_reader_judges_age() -> None:
    reader = TokenReader(keys=(KEY,), clock_skew_s=5)
    token = mint_token(attrs.evolve(TARGET, not_after=1000.0), KEY)
    assert reader.read(token, now=1000.0).host == "10.0.0.5"
    assert reader.read(token, now=1005.0).host == "10.0.0.5"
    assert slug_of(reader, token, 1005.1) == TOKEN_EXPIRED.slug


def test_the_reader_asks_for_an_expiry_unless_told_otherwise() -> None:
    assert slug_of(TokenReader(keys=(KEY,)), GCM_TOKEN, 0) == TOKEN_INVALID.slug
    assert TokenReader(keys=(KEY,), require_expiry=False).read(GCM_TOKEN, now=0) == TARGET


def test_the_reader_names_missing_and_invalid() -> None:
    reader = TokenReader(keys=(KEY,))
    assert slug_of(reader, None, 0) == TOKEN_MISSING.slug
    assert slug_of(reader, "", 0) == TOKEN_MISSING.slug
    assert slug_of(reader, "nonsense", 0) == TOKEN_INVALID.slug
    assert slug_of(reader, mint_token(TARGET, OTHER_KEY), 0) == TOKEN_INVALID.slug


def test_a_reader_without_keys_does_not_exist() -> None:
    with pytest.raises(ValueError, match="keys"):
        TokenReader(keys=())


def test_key_files_are_cloudstacks_json(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(PASSWORD_JSON)
    assert read_key_file(path) == KEY
    assert json.loads(KEY.to_json()) == json.loads(PASSWORD_JSON)
    path.write_text(json.dumps({k: v + "==" for k, v in json.loads(PASSWORD_JSON).items()}))
    assert read_key_file(path) == KEY


def test_new_key_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    key = TokenKey.generate()
    write_key_file(path, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path) == key
    with pytest.raises(FileExistsError):
        write_key_file(path, key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"base64EncodedKeyBytes":"AAECAwQFBgcICQoLDA0ODw"}',
        '{"base64EncodedKeyBytes":"AAEC","base64EncodedIvBytes":"EBESExQVFhcYGRobHB0eHw"}',
        '{"base64EncodedKeyBytes":"!","base64EncodedIvBytes":"EBESExQVFhcYGRobHB0eHw"}',
        '{"base64EncodedKeyBytes":7,"base64EncodedIvBytes":"EBESExQVFhcYGRobHB0eHw"}',
        " " * 5000,
    ],
)
def test_bad_key_files_name_the_file_and_nothing_secret(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(BadConfiguration, match=r"key\.json") as caught:
        read_key_file(path)
    assert "AAEC" not in str(caught.value)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"none\.json.*No such file"):
        read_key_file(tmp_path / "none.json")


def test_secrets_do_not_print_themselves() -> None:
    assert "pa55" not in f"{FULL!r} {FULL} {FULL.password} {FULL.password!r:>40} {[FULL.password]}"
    assert "AAECAw" not in repr(KEY)
    assert KEY.fingerprint in repr(KEY)
