"""Certificates of an authority of the tests' own, in the files that QEMU, Xvnc and the daemon want."""

from __future__ import annotations

import datetime
from pathlib import Path

import trustme

_DAY = datetime.timedelta(days=1)


class Authority:
    """Issues certificates.

    Args:
        ca_file: where its own certificate is written.
    """

    def __init__(self, ca_file: Path) -> None:
        self._ca = trustme.CA()
        self.ca_file = ca_file
        ca_file.parent.mkdir(parents=True, exist_ok=True)
        self._ca.cert_pem.write_to_path(ca_file)

    def issue(self, folder: Path, role: str, *names: str, expired: bool = False, rsa: bool = False) -> Pair:
        """A certificate for host names and addresses, in a folder as QEMU (``tls-creds-x509,dir=``) wants it.

        Args:
            role: the files are ``<role>-cert.pem`` and ``<role>-key.pem``.
            names: host names and addresses.
            expired: it was good until yesterday.
            rsa: with an RSA key instead of an elliptic curve's.
        """
        folder.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC)
        issued = self._ca.issue_cert(
            *names,
            not_before=now - 30 * _DAY,
            not_after=now - _DAY if expired else now + 30 * _DAY,
            key_type=trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA,
        )
        pair = Pair(folder / f"{role}-cert.pem", folder / f"{role}-key.pem")
        issued.cert_chain_pems[0].write_to_path(pair.certificate)
        issued.private_key_pem.write_to_path(pair.key)
        self._ca.cert_pem.write_to_path(folder / "ca-cert.pem")
        return pair


class Pair:
    """The files of a certificate and of its key; ``ca-cert.pem`` lies beside them."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.key = key

    @property
    def folder(self) -> Path:
        return self.certificate.parent
