"""nginx and HAProxy with the samples of ``conf/``: in a copy, addresses and files are the test's own.

They connect to the daemon from ``PROXY_ADDRESS``, so that it can tell them from the clients, which are on this machine
as well.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from .certificates import Authority
from .daemon import Answer, Console, Daemon
from .processes import PATIENCE_S, Process, free_port, listens, program

SAMPLES = Path(__file__).parent.parent.parent / "conf"

#: Where reverse proxies come from.
PROXY_ADDRESS = "127.0.0.2"
#: Where Chromium comes from, and where somebody else does.
BROWSER_ADDRESS = "127.0.0.1"
OTHER_ADDRESS = "127.0.0.9"

#: Around nginx's sample, as /etc/nginx/nginx.conf is; everything it writes goes into the test's folder.
_NGINX_MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    access_log {folder}/other.log;
    {defaults}
    include {sample};
}}
"""


def changed(sample: str, changes: Mapping[str, str]) -> str:
    """A sample with other values; each of those that are replaced has to be in it."""
    text = (SAMPLES / sample).read_text("utf-8")
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in {sample}"
        text = text.replace(old, new)
    return text


@attrs.frozen(eq=False)
class ReverseProxy:
    """A running reverse proxy.

    Attributes:
        process: its process.
        port: where it listens, on 127.0.0.1.
        folder: where all its logs are.
        authority: who has issued the certificate that clients see.
    """

    process: Process
    port: int
    folder: Path
    authority: Authority

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.ca_file))

    def through(self, console: Console) -> Console:
        """The same console, by way of this reverse proxy."""
        parts = urlsplit(console.url)
        return Console(f"{self.url}{parts.path}?{parts.query}")

    def get(self, url: str, *, source: str, headers: Sequence[tuple[str, str]] = (), method: str = "GET") -> Answer:
        """One request from that address of this machine."""
        parts = urlsplit(url)
        connection = http.client.HTTPSConnection(
            parts.netloc, timeout=PATIENCE_S, source_address=(source, 0), context=self.trust
        )
        try:
            connection.putrequest(method, f"{parts.path}?{parts.query}")
            for name, value in (*headers, ("Connection", "close")):
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def logs(self) -> str:
        """Everything that it has written down so far."""
        return "".join(
            path.read_text("utf-8", "replace")
            for path in self.folder.iterdir()
            if path.suffix in (".log", ".out") and path.is_file()
        )


def start_nginx(
    folder: Path,
    daemon: Daemon,
    authority: Authority,
    *,
    unix: str = "",
    defaults: str = "",
    changes: Mapping[str, str] | None = None,
) -> ReverseProxy:
    """nginx with its sample.

    Args:
        folder: where its files go.
        daemon: what is behind it.
        authority: issues its certificate.
        unix: the daemon's unix socket; by default it connects to the daemon's port.
        defaults: what nginx.conf says for all sites.
        changes: what differs from the sample otherwise.
    """
    port = free_port()
    pair = authority.issue(folder, "server", "127.0.0.1")
    sample = folder / "trio-cpvm.conf"
    replaced = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server_name console.example.com;": "server_name 127.0.0.1;",
        "/etc/ssl/console.example.com.pem": str(pair.certificate),
        "/etc/ssl/private/console.example.com.key": str(pair.key),
        "server 127.0.0.1:8080;": f"server unix:{unix};" if unix else f"server {urlsplit(daemon.url).netloc};",
        "/var/log/nginx/console.log": f"{folder}/console.log",
    }
    sample.write_text(changed("nginx.conf", {**replaced, **(changes or {})}), "utf-8")
    main = folder / "nginx.conf"
    if not unix:
        defaults += f" proxy_bind {PROXY_ADDRESS};"
    main.write_text(_NGINX_MAIN.format(folder=folder, defaults=defaults, sample=sample), "utf-8")
    nginx = program("nginx", "nginx-light")
    argv = [nginx, "-p", str(folder), "-c", str(main), "-e", f"{folder}/error.log"]
    return _started(ReverseProxy(Process("nginx", argv, folder), port, folder, authority))


def start_haproxy(
    folder: Path,
    daemon: Daemon,
    authority: Authority,
    *,
    sample: str = "haproxy.cfg",
    changes: Mapping[str, str] | None = None,
) -> ReverseProxy:
    """HAProxy with one of its samples.

    Args:
        folder: where its files go.
        daemon: what is behind it.
        authority: issues its certificate, where TLS ends in it, else the daemon's.
        sample: the file's name.
        changes: what differs from the sample otherwise.
    """
    port = free_port()
    offloads = sample == "haproxy.cfg"
    behind = "127.0.0.1:8080" if offloads else "127.0.0.1:8443"
    replaced = {
        "log /dev/log local0": "log stdout format raw local0",
        "    user haproxy\n    group haproxy\n": "",
        "maxconn 20000": "maxconn 200",  # what the user running the tests may have
        "bind :443": f"bind 127.0.0.1:{port}",
        f"server console {behind}": f"server console {urlsplit(daemon.url).netloc} source {PROXY_ADDRESS}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    if offloads:
        pair = authority.issue(folder, "server", "127.0.0.1")
        both = folder / "both.pem"
        both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
        replaced["/etc/haproxy/console.example.com.pem"] = str(both)
    config = folder / "haproxy.cfg"
    config.write_text(changed(sample, {**replaced, **(changes or {})}), "utf-8")
    argv = [program("haproxy", "haproxy"), "-db", "-f", str(config)]
    return _started(ReverseProxy(Process("haproxy", argv, folder), port, folder, authority))


def _started(proxy: ReverseProxy) -> ReverseProxy:
    try:
        proxy.process.wait_for(lambda: listens(proxy.port), f"{proxy.process.name} listens")
    except BaseException:
        proxy.process.stop()
        raise
    return proxy
