"""`brownout capacity`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from chaos.healing import Left


class _Quantity(click.ParamType[float]):
    """A quantity with its unit, read as in YAML: a `rate`, a `duration` or a `share`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Per second, seconds, or a fraction, above 0."""
        from pydantic_core import PydanticCustomError

        from slo import quantities

        parse = {
            "rate": quantities.parse_rate,
            "duration": quantities.parse_duration,
            "share": quantities.parse_share,
        }[self.name]
        try:
            found = float(parse(value))
        except PydanticCustomError as error:
            self.fail(error.message(), param, ctx)
        if found <= 0:
            self.fail(f"expected more than 0, got {value}", param, ctx)
        return found


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Experiments and targets whose names begin with what was typed."""
    from chaos.documents.library import Library
    from chaos.documents.problems import BadInput
    from chaos.documents.project import find_project

    try:
        names = Library(find_project()).names(("Experiment", "Target"))
    except BadInput:
        return []
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


RATE, DURATION, SHARE = _Quantity("rate"), _Quantity("duration"), _Quantity("share")


@click.command("capacity")
@click.argument("experiment", metavar="EXPERIMENT|TARGET", shell_complete=_complete)
@click.option("--profile", metavar="NAME", help="The load profile; an experiment has one of its own.")
@click.option(
    "--objective", "objectives", multiple=True, metavar="NAME", help="Hold these, not the experiment's own."
)
@click.option("--fault", "faults", multiple=True, metavar="NAME", help="Of the faults only these; else all.")
@click.option("--control-only", is_flag=True, help="Search without a fault only.")
@click.option("--load", metavar="NAME", help="The load whose rate is searched, where there are several.")
@click.option("--from", "start", type=RATE, metavar="RATE", help="The first rate tried; the load's own.")
@click.option(
    "--to", "highest", type=RATE, metavar="RATE", help="No higher rate is tried; 64 times the first."
)
@click.option("--precision", type=SHARE, default="5%", show_default=True, help="How close the two ends come.")
@click.option(
    "--point-min", type=DURATION, default="4s", show_default=True, help="A rate is held for at least so long."
)
@click.option("--point-max", type=DURATION, default="60s", show_default=True, help="... and at most so long.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Repeat a search's draws; random if left out."
)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key of the experiment.")
@click.option("--target", help="Another target than the experiment's own.")
@click.option("--toxiproxy", metavar="URL", help="Inject through this Toxiproxy, not the embedded proxy.")
@click.option("--workers", type=click.IntRange(1, 1000), metavar="N", help="How many load processes.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where folders go (./runs).")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON on stdout; progress on stderr."
)
@click.option("--no-color", is_flag=True, help="Plain text.")
@click.option("--despite-leftovers", is_flag=True, help="As of `brownout run`.")
@click.pass_obj
def command(
    leftovers: tuple[Left, ...] | None, /, experiment: str, despite_leftovers: bool, **given: Any
) -> int:
    """Search for the highest rate that holds the objectives, without a fault and with it.

    The rate doubles until an objective is breached, then the gap is halved. Each rate is held until every
    objective is decided, or its time is over. The answer is two rates: one that held, one that did not.

    \b
    Exit codes: 0 found, 1 held at no rate, 3 found less precisely than was asked, or not.
    """
    from chaos.capacity.invocation import invoke
    from chaos.capacity.request import Options

    precision, least, most = given.pop("precision"), given.pop("point_min"), given.pop("point_max")
    if most < least:
        raise click.BadParameter("expected at least --point-min", param_hint="--point-max")
    options = Options(
        reference=experiment,
        precision=precision,
        point_min_s=least,
        point_max_s=most,
        leftovers=() if despite_leftovers else leftovers or (),
        **given,
    )
    return int(invoke(options))
