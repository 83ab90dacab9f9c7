"""`brownout plan`: what would a run do?"""

from __future__ import annotations

import click


@click.command()
@click.argument("experiment")
@click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="Change a value: phases.fault=10s")
@click.option("--target", metavar="TARGET", help="Use this target instead of the experiment's own.")
@click.option("--seed", type=int, default=1, show_default=True, help="What everything random is drawn from.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, as a run folder keeps it.")
def command(experiment: str, sets: tuple[str, ...], target: str | None, seed: int, as_json: bool) -> None:
    """Print the timeline of EXPERIMENT, and all that a run would touch. Nothing is started."""
    from chaos.documents.amend import parse_sets
    from chaos.documents.problems import BadInput
    from chaos.documents.project import find_project
    from chaos.documents.resolve import resolve
    from chaos.plan_view import plan_text
    from chaos.planning import make_plan
    from chaos.proxy_servers import layer7_refused
    from chaos.sizing import workers_here

    project = find_project()
    resolved = resolve(experiment, sets=parse_sets(sets), target=target, project=project)
    problems, notes = layer7_refused([resolved])
    if problems:
        raise BadInput(problems)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    plan = make_plan(resolved, seed, project.config.lease)
    plan = plan.model_copy(update={"workers": workers_here(plan)})
    click.echo(plan.model_dump_json(indent=2) if as_json else plan_text(plan), nl=as_json)
