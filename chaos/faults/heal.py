"""Undoing any fault, by whatever carries it: the one way for conductor, keeper and `brownout heal`."""

from __future__ import annotations

from chaos.faults.processes import heal as processes
from chaos.faults.toxiproxy import NOT_FOUND, ProxyFailed, ProxyRefused, ToxiproxyServer
from chaos.faults.undo import DeleteProxy, EnableProxy, RemoveToxic, ServerUndo, Undo


def heal(undo: Undo) -> None:
    """Take away what `undo` names, and see that it is gone. Doing it again changes nothing.

    Raises:
        OSError: it may still be in place; the message says why.
    """
    if isinstance(undo, ServerUndo):
        _heal_on_server(undo)
    else:
        processes.heal(undo)


def _heal_on_server(undo: ServerUndo) -> None:
    """Raises ProxyUnreachable: no answer, a refusal, or what should be gone is still there."""
    server = ToxiproxyServer(undo.api)
    try:
        _perform(server, undo)
        left = _left(server, undo)
    except ProxyRefused as error:
        raise ProxyFailed(str(error)) from error
    if left:
        raise ProxyFailed(f"{undo.api}: {left}")


def _perform(server: ToxiproxyServer, undo: ServerUndo) -> None:
    try:
        match undo:
            case RemoveToxic():
                server.remove_toxic(undo.proxy, undo.toxic)
            case EnableProxy():
                server.set_enabled(undo.proxy, True)
            case DeleteProxy():
                server.delete_proxy(undo.proxy)
    except ProxyRefused as error:
        if error.status != NOT_FOUND:  # what is not there needs no healing
            raise


def _left(server: ToxiproxyServer, undo: ServerUndo) -> str | None:
    """What is still in place of what `undo` takes away."""
    match undo:
        case RemoveToxic():
            there = server.toxic(undo.proxy, undo.toxic) is not None
            return f"toxic {undo.toxic} is still on proxy {undo.proxy}" if there else None
        case EnableProxy():
            proxy = server.proxy(undo.proxy)
            still = proxy is not None and (not proxy.enabled or proxy.disabling)
            return f"proxy {undo.proxy} is still disabled" if still else None
        case DeleteProxy():
            there = server.proxy(undo.proxy) is not None
            return f"proxy {undo.proxy} is still there" if there else None
