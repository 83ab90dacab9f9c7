"""`brownout doctor`."""

from __future__ import annotations

import click


@click.command("doctor")
def command() -> int:
    """Tell what is installed and reachable, and what to do about the rest.

    Exits 0 when everything that a run needs is there; what is only optional is told, with how to get it.
    """
    from chaos.checkup import checkup

    worst = 0
    for check in checkup():
        mark = "ok      " if check.ok else ("MISSING " if check.needed else "optional")
        click.echo(f"{mark} {check.name}: {check.found}")
        if not check.ok and check.remedy:
            click.echo(f"         hint: {check.remedy}")
        if not check.ok and check.needed:
            worst = 1
    return worst
