"""The seeds of the corpus that are written by hand: ``python -m fuzz.seeds`` writes them anew."""

from __future__ import annotations

import struct
import zlib

from fuzz.rfb_handshake import BROWSER
from fuzz.targets import CORPUS
from fuzz.token import LEGACY, SEALED, SPELLED

V33, V37, V38 = b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"
PASSWORD, NAMED, SKIP, NO_PLAIN, ANONYMOUS, SECURED, TITLED = 1, 2, 4, 8, 16, 32, 64
CHALLENGE = bytes(range(16))
OK, BAD = bytes(4), b"\0\0\0\1"
INIT = struct.pack(">HH16sI", 64, 48, bytes((32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0)), 5) + b"guest"


def host(*parts: bytes) -> bytes:
    """What a host says, a record for each part."""
    return b"".join(bytes([len(part)]) + part for part in parts)


def browser(*parts: bytes) -> bytes:
    """What a browser says."""
    return b"".join(bytes([BROWSER | len(part)]) + part for part in parts)


def handshake(flags: int, *records: bytes) -> bytes:
    """An input for the target ``rfb_handshake``."""
    return bytes([flags]) + b"".join(records)


def u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def vencrypt(*subtypes: int) -> bytes:
    return host(V38, b"\1\x13", b"\0\2", b"\0", bytes([len(subtypes)]) + u32(*subtypes), b"\1")


def capabilities(*codes: int) -> bytes:
    return u32(len(codes)) + b"".join(u32(code) + b"VENDSIGNATUR" for code in codes)


HELLO = browser(V38, b"\1", b"\1")

HANDSHAKES = {
    "none-38": handshake(0, browser(V38), host(V38, b"\1\1", OK), browser(b"\1", b"\1"), host(INIT)),
    "none-37": handshake(0, host(V37, b"\1\1"), HELLO, host(INIT)),
    "none-33": handshake(0, host(V33, u32(1)), browser(V33, b"\1"), host(INIT)),
    "vnc-38": handshake(PASSWORD, host(V38, b"\1\2", CHALLENGE, OK), HELLO, host(INIT)),
    "vnc-33": handshake(PASSWORD, host(V33, u32(2), CHALLENGE, OK), HELLO, host(INIT)),
    "vnc-titled": handshake(PASSWORD | TITLED, host(V38, b"\2\1\2", CHALLENGE, OK), HELLO, host(INIT + b"more")),
    "vnc-wrong": handshake(PASSWORD, host(V38, b"\1\2", CHALLENGE, BAD, u32(2) + b"no"), browser(V38)),
    "vnc-blocked": handshake(PASSWORD, host(V38, b"\0", u32(26) + b"Too many security failures"), browser(V38)),
    "no-downgrade": handshake(PASSWORD, host(V38, b"\1\1"), browser(V38)),
    "none-although-password": handshake(PASSWORD | SKIP, host(V38, b"\1\1", OK), HELLO, host(INIT)),
    "x509none": handshake(0, vencrypt(260), host(OK), HELLO, host(INIT)),
    "x509vnc": handshake(PASSWORD, vencrypt(261), host(CHALLENGE, OK), HELLO, host(INIT)),
    "x509plain": handshake(PASSWORD | NAMED, vencrypt(262), host(OK), HELLO, host(INIT)),
    "tlsvnc": handshake(PASSWORD | ANONYMOUS, vencrypt(258), host(CHALLENGE, OK), HELLO, host(INIT)),
    "tlsplain": handshake(PASSWORD | NAMED | ANONYMOUS, vencrypt(259), host(OK), HELLO, host(INIT)),
    "plain-inside-tls": handshake(
        PASSWORD | NAMED | SECURED,
        host(V38, b"\1\x13", b"\0\2", b"\0", b"\1" + u32(256), OK),
        HELLO,
        host(INIT),
    ),
    "vencrypt-reconnect": handshake(
        PASSWORD,
        host(V38, b"\2\x13\2", b"\0\2", b"\0", b"\1" + u32(258)),
        host(V38, b"\2\x13\2", CHALLENGE, OK),
        HELLO,
        host(INIT),
    ),
    "vencrypt-early-bytes": handshake(PASSWORD, vencrypt(261)[:-2], host(b"\1early")),
    "vencrypt-old": handshake(PASSWORD, host(V38, b"\1\x13", b"\0\1")),
    "tls-demanded": handshake(PASSWORD | NO_PLAIN, host(V38, b"\1\2"), browser(V38)),
    "tight-none": handshake(
        0, host(V38, b"\1\x10", u32(0), u32(0), OK), HELLO, host(INIT, b"\0\1\0\0\0\0\0\0" + bytes(16))
    ),
    "tight-vnc": handshake(
        PASSWORD,
        host(V38, b"\1\x10", capabilities(0), capabilities(1, 2), CHALLENGE, OK),
        HELLO,
        host(INIT, bytes(8)),
    ),
    "not-rfb": handshake(PASSWORD, host(b"SSH-2.0-OpenSSH\r\n"), browser(V38)),
    "host-closes": handshake(PASSWORD, host(V38, b""), browser(V38)),
    "browser-closes": handshake(PASSWORD, host(V38), browser(V38, b"")),
    "browser-chooses-another": handshake(0, host(V38, b"\1\1", OK), browser(V38, b"\2")),
}

UPGRADE = (
    b"GET /websockify?token=abc%3D&extra=x HTTP/1.1\r\nHost: console.test:8080\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n"
    b"Origin: http://console.test:8080\r\n"
)

DOORS = {
    "page": b"\0GET /novnc/?token=abc HTTP/1.1\r\nHost: console.test\r\nAccept-Encoding: gzip\r\n\r\n",
    "upgrade": b"\x07" + UPGRADE + b"Sec-WebSocket-Protocol: binary\r\n\r\n",
    "upgrade-base64": b"\x20" + UPGRADE + b"Sec-WebSocket-Protocol: base64\r\n\r\n",
    "pipelined": b"\x09HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
    b"GET /x HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
    "old": b"\0GET / HTTP/1.0\r\n\r\n",
    "body": b"\0POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "chunked": b"\0POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded": b"\0GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "bare-lf": b"\0GET / HTTP/1.1\nHost: a\n\n",
    "tls": b"\0\x16\x03\x01\0\xa5\1\0\0\xa1\3\3",
    "too-large": b"\xffGET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 16384,
    "absolute": b"\0GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
}

TUNNELS = {
    "ok": b"\x01HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n\r\nRFB 003.003\n",
    "ok-short": b"\x05HTTP/1.0 200\r\n\r\n",
    "forbidden": b"\x00HTTP/1.1 403 Forbidden\r\n\r\n<html>",
    "internal": b"\x03HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
    "garbage": b"\x02RFB 003.003\n",
    "unfinished": b"\x04HTTP/1.1 200 OK\r\nX: ",
    "url": b"\xffhttps://xen.test/console?ref=OpaqueRef:1a2b&session_id=x\nOpaqueRef:99",
    "url-encoded": b"\xffhttp://[fd00::5]:8080/console%3Fuuid=a%2Cb\nOpaqueRef:99",
    "url-broken": b"\xffhttps://xen.test/console%0d%0aX: y\nsess",
    "session-broken": b"\xffhttps://xen.test/console\na;b",
    "no-url": b"\xffhttps://[\nsess",
}

TEXT = (
    b'{"clientHostAddress":"10.0.0.5","clientHostPort":5901,"clientHostPassword":"pw","clientTag":"i-2-5-VM",'
    b'"clientDisplayName":"Web 1","sourceIP":"198.51.100.7","sessionUuid":"u","extraSecurityToken":"x",'
    b'"sessionRequiresNewViewer":false,"notAfter":4000000000,"viewOnly":false}'
)
GCM = (
    b"ZGVmZ2hpamtsbW5v+ijGwaG5ztuF3KTZdaIJPPn21IxgHXtXA4QOLYlw+WKxrWqKFBnrzebTuwWR3TRPwmeDfjCK3GGCNKKki6kJJ3+GDr5x"
    b"PMqsU3pk3EnUvwkR08kGcdlmsR1IcgOsAKsaZOVPpxcPCA=="
)
CBC = (
    b"sQ0_zi1jBjbcI0QUNuWfVNtkYPaXu3z0oobOi3OGsXMMsdGwvo0pbP-l-_JHJuH-OER0Uqm8-Q20zlblyrNjsUJM8QDbq2r1v5OSxW6aJrS-qHWQ"
    b"Bui_Rw_OoBAsdzvM"
)

TOKENS = {
    "gcm": bytes([SPELLED]) + GCM,
    "gcm-encoded": bytes([SPELLED]) + GCM.replace(b"+", b"%2B").replace(b"=", b"%3D"),
    "gcm-twice": bytes([SPELLED]) + GCM.replace(b"+", b"%252B").replace(b"=", b""),
    "cbc": bytes([SPELLED]) + CBC,
    "spaces": bytes([SPELLED]) + GCM.replace(b"+", b" "),
    "sealed": bytes([SEALED]) + TEXT,
    "legacy": bytes([LEGACY]) + TEXT,
    "websocket": bytes([SEALED]) + b'{"websocketUrl":"wss://esx.test:443/ticket/1"}',
    "tunnel": bytes([SEALED]) + b'{"clientTunnelUrl":"https://xen.test/console?ref=1","clientTunnelSession":"s"}',
    "unix": bytes([SEALED]) + b'{"clientHostAddress":"unix:/run/vm/1.sock"}',
    "broken-url": bytes([SEALED]) + b'{"websocketUrl":"wss://["}',
    "surrogate": bytes([SEALED]) + b'{"clientHostAddress":"a","clientHostPort":1,"clientHostPassword":"\\ud800"}',
    "deep": bytes([SEALED]) + b"[" * 2000,
    "numbers": bytes([SEALED]) + b'{"clientHostAddress":"a","clientHostPort":1e3,"notAfter":Infinity}',
    "expired": bytes([SEALED]) + b'{"clientHostAddress":"a","clientHostPort":1,"notAfter":1}',
    "raw": b"\x03" + bytes(40),
}

ENCODINGS = b"\2\0\0\2" + struct.pack(">iI", -316, 0xC0A1E5CE)
WATCHED = {
    "all-chatter": b"\1" + bytes(20) + ENCODINGS + b"\3" + bytes(9) + b"\x96" + bytes(9) + b"\xf8" + bytes(7) + b"\1x",
    "resize-audio": b"\2\xfb" + bytes(5) + b"\1\0" + bytes(16) + b"\xff\1\0\2" + bytes(6) + b"\xff\1\0\0",
    "hands": b"\3\4\1\0\0\0\0\0a\5\1\0\1\0\1\6\0\0\0\0\0\0\2hi\xff\0" + bytes(10) + b"\xfa\0\1\2",
    "many-buttons": b"\1" + ENCODINGS + b"\5\x80\0\1\0\1\2",
    "clipboard": b"\1" + ENCODINGS + b"\6\0\0\0" + struct.pack(">iI", -6, 1 << 28 | 1) + bytes(2),
    "clipboard-caps": b"\1" + ENCODINGS + b"\6\0\0\0" + struct.pack(">iI", -8, 1 << 24 | 1) + bytes(4),
    "gii": b"\0\xfd\x80\0\2ab\xfd\0\2\0ab",
    "unknown": b"\0\7abc",
    "huge-paste": b"\0\6\0\0\0\x7f\xff\xff\xffabc",
}

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4, V6, PORTS = bytes((192, 0, 2, 9, 203, 0, 113, 1)), bytes(range(32)), bytes(4)
PROXIED = {
    "v1-tcp4": b"PROXY TCP4 192.0.2.9 203.0.113.1 56324 443\r\nGET",
    "v1-tcp6": b"PROXY TCP6 2001:db8::9 ::ffff:203.0.113.1 0 65535\r\n",
    "v1-unknown": b"PROXY UNKNOWN whatever\r\n",
    "v2-tcp4": SIGNATURE + b"\x21\x11\0\x13" + V4 + PORTS + b"\x04\0\4abcd\x16",
    "v2-tcp6": SIGNATURE + b"\x21\x21\0\x24" + V6 + PORTS,
    "v2-local": SIGNATURE + b"\x20\0\0\0",
    "v2-unix": SIGNATURE + b"\x21\x31\0\xd8" + bytes(216),
    "v2-too-long": SIGNATURE + b"\x21\x11\xff\xff",
    "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
}

FORWARDED = {
    "custom": b"X198.51.100.1, 192.0.2.9:80\nX[2001:db8::9]:4711, 10.0.0.1\nPhttps",
    "custom-schemes": b"X192.0.2.9, 10.0.0.1\nPhttps, http",
    "standard": b'Ffor="[2001:db8:cafe::17]:4711";proto=https;by=203.0.113.43, For=10.0.0.1; proto=http',
    "hidden": b"Ffor=unknown, for=_hidden;by=_proxy",
    "quotes": b'Ffor="\\1\\0.0.0.1";host="a,\\"b;c", for="192.0.2.9',
    "both": b"Ffor=192.0.2.9\nX192.0.2.9",
    "row": b"X" + b"10.0.0.1," * 20,
}


def provided(kind: int, text: bytes) -> bytes:
    """An extended clipboard text."""
    body = zlib.compress(u32(len(text)) + text)
    return struct.pack(">B3xiI", kind, -4 - len(body), 1 << 28 | 1) + body


OPENING = b"\0\0\0\0" + INIT[4:20] + ENCODINGS + b"\3" + bytes(9)
FILTERED = {
    "view-only": b"\1\3" + OPENING + WATCHED["hands"][1:] + b"\xf8" + bytes(7) + b"\1x",
    "view-only-unknown": b"\1\0" + OPENING + b"\7",
    "not-to-guest": b"\2\1" + OPENING + WATCHED["clipboard"][1:] + WATCHED["clipboard-caps"][1:],
    "not-from-guest": b"\4\2" + OPENING + b"\4\1\0\0\0\0\0a" + OPENING,
    "limited": b"\x08\2" + OPENING + provided(6, b"short") + provided(6, b"x" * 40) + b"\6\0\0\0\0\0\0\1a",
    "other-pixels": b"\4\0" + OPENING + b"\0\0\0\0\x10" + INIT[5:20],
    "many-buttons": b"\2\1" + OPENING + b"\5\x80\0\1\0\1\4\1\0\0\0\0\0a",
}


def rectangle(encoding: int, body: bytes = b"", width: int = 4, height: int = 2) -> bytes:
    """An update of one rectangle."""
    return b"\0\0\0\1" + struct.pack(">HHHHi", 0, 0, width, height, encoding) + body


FOLLOWED = {
    "texts": b"\1\2\3\0\0\0\0\0\0\2hi\2" + provided(3, b"short") + b"\2",
    "texts-limited": b"\x82\3\0\0\0\0\0\0\2hi\2" + provided(3, b"short") + provided(3, b"x" * 40) + b"\2",
    "pictures": b"\5" + rectangle(0, bytes(32)) + rectangle(1, bytes(4)) + rectangle(16, b"\0\0\0\3abc"),
    "tight": b"\1" + rectangle(7, b"\x80rgb") + rectangle(7, b"\x90\x03abc") + rectangle(7, b"\0\5abcde"),
    "tight-palette": b"\2" + rectangle(7, b"\x40\1\1rgbrgb\1\2") + rectangle(7, b"\x40\1\2" + bytes(9 + 8)),
    "small-pixels": b"\x41" + rectangle(0, bytes(8)) + rectangle(-239, bytes(8 + 2)) + rectangle(7, b"\x80c"),
    "pseudo": b"\3"
    + rectangle(-240, bytes(6 + 4))
    + rectangle(0x574D5664, b"\1\0" + bytes(32))
    + rectangle(-308, b"\1\0\0\0" + bytes(16))
    + rectangle(-307, b"\0\0\0\1x"),
    "last": b"\0\0\0\xff\xff" + rectangle(-224)[4:] + b"\xf8" + bytes(7) + b"\1x\x96\xfa\0\1\1",
    "colours": b"\0\1\0\0\0\0\1" + bytes(6) + b"\2",
    "unknown": b"\0\4",
}


def main() -> None:
    seeds = {
        "rfb_handshake": HANDSHAKES,
        "http_door": DOORS,
        "connect_tunnel": TUNNELS,
        "token": TOKENS,
        "input_watcher": WATCHED,
        "proxy_header": PROXIED,
        "forwarded": FORWARDED,
        "client_filter": FILTERED,
        "server_filter": FOLLOWED,
    }
    for target, inputs in seeds.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in inputs.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
