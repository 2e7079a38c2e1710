"""What browsers meet of one process: the door, the site behind it, and accepting in front of it.

Made of the parts that one configuration gives, and of others once they are taken. Knows nothing of other processes.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import partial

import trio

from .acceptor import Acceptor
from .authority import Admission
from .certificates import BrowserTls, watch
from .errors import BadConfiguration
from .front import Front, Room
from .metrics import Counts
from .parts import Parts
from .site import PublicSite


class PublicSide:
    """Serves browsers.

    Args:
        parts: what it works with.
        admission: decides about consoles.
        metrics: is told of events.
        room: knows of all processes' connections, where there are several.

    Attributes:
        parts: what it works with at present.
        front: what connections go to.
        acceptor: where they come from.
    """

    def __init__(self, parts: Parts, *, admission: Admission, metrics: Counts, room: Room | None = None) -> None:
        config = parts.config
        self.parts = parts
        self._admission = admission
        self._metrics = metrics
        self.front = Front(
            site=self._site(),
            head_timeout_s=config.server.head_timeout_s,
            max_connections=config.server.max_connections,
            max_connections_per_client=config.server.max_connections_per_client,
            tls=self._tls,
            clients=parts.clients,
            room=room,
            on_refused=partial(metrics.refused, "request"),
            on_limit=metrics.limit_reached,
        )
        self.acceptor = Acceptor(holds_back=True, on_limit=metrics.limit_reached)

    def take(self, parts: Parts) -> None:
        """Work with other parts from this moment on: all of them, without an await in between.

        Sessions that run keep the limits and hosts' TLS they began with.
        """
        server = parts.config.server
        self.parts = parts
        self.front.site = self._site()
        self.front.head_timeout_s = server.head_timeout_s
        self.front.max_connections = server.max_connections
        self.front.max_connections_per_client = server.max_connections_per_client
        self.front.clients = parts.clients

    async def serve(
        self,
        plain: Sequence[trio.abc.Listener[trio.SocketStream]],
        tls: Sequence[trio.abc.Listener[trio.SocketStream]],
        *,
        connections: trio.Nursery,
    ) -> None:
        """Accept until cancelled; connections go on in their own nursery."""
        async with trio.open_nursery() as accepting:
            for listeners, handler in ((plain, self.front.handle), (tls, self.front.handle_tls)):
                if listeners:
                    accept = partial(self.acceptor.serve, handler, listeners, handler_nursery=connections)
                    accepting.start_soon(accept)
            if tls:
                accepting.start_soon(watch, self._certificate)

    def _site(self) -> PublicSite:
        return PublicSite(
            config=self.parts.config,
            gate=self.parts.gate,
            admission=self._admission,
            pages=self.parts.pages,
            dial=self.parts.dial,
            start_tls=self.parts.start_tls,
            access=self.parts.access,
            metrics=self._metrics,
        )

    def _certificate(self) -> BrowserTls:
        if self.parts.certificate is None:
            raise BadConfiguration("server.listen_tls needs tls.certificate and tls.private_key")
        return self.parts.certificate

    def _tls(self) -> ssl.SSLContext:
        return self._certificate().context
