"""TLS towards hosts: certificates are verified, unless the configuration says otherwise.

One context for everything that has certificates, one for VeNCrypt's sub-types that have none. Whose certificate it has
to be is the name or address that the console target says, never what a host says of itself.
"""

from __future__ import annotations

import ssl

import trio

from .. import errors
from ..config import UpstreamConfig
from ..errors import BadConfiguration, ConsoleError
from ..ready_tls import ReadyTls

#: OpenSSL's name for cipher suites without certificates, less those that do not encrypt; its default security level has
#: none of them.
_ANONYMOUS_CIPHERS = "aNULL:!eNULL:@SECLEVEL=0"


class HostTls:
    """How TLS to hosts is done.

    Args:
        config: CA file, client certificate, what is verified.

    Raises:
        BadConfiguration: a file cannot be used; the text names key and file.
    """

    def __init__(self, config: UpstreamConfig) -> None:
        self._config = config
        # Loading the system's authorities is a tenth of the start. With nothing configured that could be wrong, it has
        # time until a host wants TLS.
        self._verified = self._verifying() if config.ca_file or config.client_certificate else None
        self._anonymous: ssl.SSLContext | None = None
        if config.allow_anonymous_tls:
            self._anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._anonymous.check_hostname = False
            self._anonymous.verify_mode = ssl.CERT_NONE
            self._anonymous.maximum_version = ssl.TLSVersion.TLSv1_2  # later versions have no anonymous suites
            self._anonymous.set_ciphers(_ANONYMOUS_CIPHERS)

    def _verifying(self) -> ssl.SSLContext:
        config = self._config
        try:
            verified = ssl.create_default_context(cafile=config.ca_file or None)
        except (OSError, ssl.SSLError) as exc:
            raise BadConfiguration(f"upstream.ca_file = {config.ca_file!r}: {exc.strerror or exc}") from exc
        verified.minimum_version = ssl.TLSVersion.TLSv1_2
        verified.check_hostname = config.verify_hostname and config.verify_certificate
        if not config.verify_certificate:
            verified.verify_mode = ssl.CERT_NONE
        if config.client_certificate:
            try:
                verified.load_cert_chain(config.client_certificate, config.client_key, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as exc:
                names = f"{config.client_certificate!r}, upstream.client_key = {config.client_key!r}"
                words = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or str(exc)
                raise BadConfiguration(f"upstream.client_certificate = {names}: {words}") from exc
        return verified

    async def start(self, stream: trio.abc.Stream, host: str, *, anonymous: bool = False) -> trio.abc.Stream:
        """Do the TLS handshake as client; the deadline is the caller's.

        Args:
            stream: the connection; closed where this fails.
            host: whose certificate it has to be: a name or an address.
            anonymous: without certificates.

        Raises:
            ConsoleError: ``upstream-tls-failed``, with what OpenSSL says for the log.
        """
        context = self._anonymous if anonymous else self._verified or self._verifying()
        if self._verified is None and not anonymous and context is not None and context.cert_store_stats()["x509_ca"]:
            self._verified = context  # else there may have been no file descriptor to read them with
        if context is None:
            await trio.aclose_forcefully(stream)
            raise ConsoleError(errors.UPSTREAM_TLS_FAILED, "upstream.allow_anonymous_tls is off")
        secure: trio.abc.Stream = stream
        name = host.partition("%")[0]
        try:
            # an empty name is refused here; with None, ssl would verify no name at all, whatever check_hostname says
            if isinstance(stream, trio.SocketStream):
                secure = ready = ReadyTls(stream, context, server_hostname=name)
                await ready.do_handshake()
            else:
                secure = wrapped = trio.SSLStream(stream, context, server_hostname=name)
                await wrapped.do_handshake()
        except (trio.BrokenResourceError, ssl.CertificateError, ValueError, TypeError) as exc:  # the last two: the name
            await trio.aclose_forcefully(secure)
            raise ConsoleError(errors.UPSTREAM_TLS_FAILED, f"TLS with {host}: {tls_words(exc)}") from exc
        except BaseException:
            await trio.aclose_forcefully(secure)
            raise
        return secure


def _no_password() -> str:
    raise ValueError("the private key is encrypted; a daemon has nobody to ask for its password")


def tls_words(exc: BaseException) -> str:
    """What OpenSSL said, out of the exceptions around it."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return (cause.reason or str(cause)).replace("_", " ").lower()
        cause = cause.__cause__
    return str(exc) or "the connection broke"


def secured_by(stream: trio.abc.Stream) -> str:
    """What protects the bytes on their way to a host, such as ``TLSv1.3 TLS_AES_256_GCM_SHA384``; empty for nothing.

    Looks through the streams that this package puts around others.
    """
    while not isinstance(stream, trio.SSLStream | ReadyTls):
        inner = getattr(stream, "transport", None)
        if not isinstance(inner, trio.abc.Stream):
            return ""
        stream = inner
    secure = stream.socket if isinstance(stream, ReadyTls) else stream
    cipher = secure.cipher()
    return f"{secure.version()} {cipher[0]}" if cipher else str(secure.version())
