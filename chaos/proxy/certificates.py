"""Whom TLS trusts: contexts for upstreams, and for listeners a throw-away CA of the process's own.

Invariant: an upstream's certificate and name are verified unless that was refused in so many words. The CA's
private key never leaves the memory; a listener's is in a file, of ours alone, only while OpenSSL loads it.

The CA's certificate is in a folder under the state folder until the process ends. One that was killed leaves
its folder; the next one that needs a CA takes it away, as the lock on it is gone.
"""

from __future__ import annotations

import fcntl
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from chaos.proxy.body import BodyError, Fields
from chaos.statefolder import state_folder

if TYPE_CHECKING:
    import trustme

_FOLDER: Final = "proxy-ca"
_CERTIFICATE: Final = "ca.pem"
_ALPN: Final = ["http/1.1"]
"""All that layer 7 reads; clients that would rather speak HTTP/2 speak this then."""
_YOUNG_S: Final = 60.0
"""A folder that is younger may be another process's that has not locked it yet."""


class CertificateError(BodyError):
    """A file of certificates that cannot be used."""


@dataclass(frozen=True, slots=True)
class TlsAsked:
    """What was asked of a proxy: TLS towards its clients, and whom to trust upstream."""

    listener: bool = False
    upstream_ca: str = ""
    """A PEM file of further authorities, beside the system's; none if empty."""
    upstream_verify: bool = True

    def as_dict(self, ca: str) -> dict[str, object]:
        """As the API shows it; nothing where nothing was asked for."""
        return {
            **({"tls": {"ca": ca}} if self.listener else {}),
            **({"upstream_ca": self.upstream_ca} if self.upstream_ca else {}),
            **({} if self.upstream_verify else {"upstream_verify": False}),
        }


def tls_of(fields: Fields, default: TlsAsked) -> TlsAsked:
    """What a body asks for; `default` where it says nothing. An object as `tls`, as shown, is true.

    Raises BodyError.
    """
    listener = isinstance(fields.values.get("tls"), dict) or fields.boolean("tls", default.listener)
    ca = fields.string("upstream_ca", default.upstream_ca)
    return TlsAsked(listener, ca, fields.boolean("upstream_verify", default.upstream_verify))


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """How a proxy speaks TLS; where it does not, None. `ca` is the file that makes clients trust it."""

    listener: ssl.SSLContext | None = None
    upstream: ssl.SSLContext | None = None
    ca: str = ""


def upstream_context(ca: str, *, verify: bool) -> ssl.SSLContext:
    """For dialling. Raises CertificateError where the file `ca` cannot be used."""
    context = ssl.create_default_context()
    if ca:
        try:
            context.load_verify_locations(cafile=ca)
        except ssl.SSLError as error:
            raise CertificateError(f"upstream_ca: expected a file of PEM certificates, got {ca}") from error
        except OSError as error:
            raise CertificateError(f"upstream_ca: {ca}: {(error.strerror or str(error)).lower()}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return _common(context)


def _common(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_alpn_protocols(_ALPN)
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


class Authority:
    """The throw-away CA, made when it is first needed. Its methods block for some tenths of a second then."""

    def __init__(self) -> None:
        self._ca: trustme.CA | None = None
        self._folder: Path | None = None
        self._file: IO[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def path(self) -> str:
        """The file of its certificate; empty before there is one."""
        return "" if self._folder is None else str(self._folder / _CERTIFICATE)

    def listener_context(self, *names: str) -> ssl.SSLContext:
        """For a listener: a new certificate for this machine and for `names`. Raises OSError.

        Names for which there can be none (`my_service`) are left out.
        """
        with self._lock:
            ca, folder = self._begin()
            return self._context(ca, folder, names)

    def _context(self, ca: trustme.CA, folder: Path, names: tuple[str, ...]) -> ssl.SSLContext:
        known = dict.fromkeys(["localhost", "127.0.0.1", "::1", *names])
        leaf = ca.issue_cert(*(name for name in known if _nameable(ca, name)))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.num_tickets = 0  # they come unasked: a client that closes without reading would reset
        with leaf.private_key_and_cert_chain_pem.tempfile(dir=str(folder)) as path:  # mode 0600
            context.load_cert_chain(path)
        return _common(context)

    def _begin(self) -> tuple[trustme.CA, Path]:
        if self._closed:
            raise OSError("the proxy is stopping")
        if self._ca is None or self._folder is None:
            import tempfile

            import trustme  # 0.2 s, only for those who need it

            base = state_folder() / _FOLDER
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(base)
            folder = Path(tempfile.mkdtemp(dir=base))  # mode 0700
            ca = trustme.CA(organization_name="Brownout", organization_unit_name="throw-away CA of a proxy")
            self._file = (folder / _CERTIFICATE).open("wb")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._file.write(ca.cert_pem.bytes())
            self._file.flush()
            self._ca, self._folder = ca, folder
        return self._ca, self._folder

    def close(self) -> None:
        """Take the folder away."""
        with self._lock:
            self._closed = True
            if self._folder is not None:
                import shutil

                shutil.rmtree(self._folder, ignore_errors=True)
            if self._file is not None:
                self._file.close()
            self._ca = self._folder = self._file = None


def _nameable(ca: trustme.CA, name: str) -> bool:
    try:
        ca.issue_cert(name)
    except ValueError:
        return False
    return True


def _sweep(base: Path) -> None:
    """Take away the folders of processes that were killed: nobody holds the lock on what is in them."""
    import shutil

    for folder in base.iterdir():
        try:
            if time.time() - folder.stat().st_mtime < _YOUNG_S:
                continue
            with (folder / _CERTIFICATE).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # it is in use, or gone


def names_of(listen: str, upstream: str) -> list[str]:
    """The names by which clients may know a listener: its hosts, and the upstream's, which it stands for."""
    anywhere = listen in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    return [name for name in (socket.gethostname() if anywhere else listen, upstream) if name]
