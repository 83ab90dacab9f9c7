"""The command line. Commands are loaded when they are used, so that `--help` stays quick."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any, TextIO, cast

import click

from chaos import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("chaos.cli.run", "Run experiments or a suite, judge them, write reports."),
    "capacity": ("chaos.cli.capacity", "Search for the highest rate that holds, with and without a fault."),
    "worker": ("chaos.cli.worker", "Send load for a run on another machine."),
    "validate": ("chaos.cli.validate", "Check documents; start nothing."),
    "plan": ("chaos.cli.plan", "Show what a run would do and touch; start nothing."),
    "judge": ("chaos.cli.judge", "Judge a run again from its folder, offline."),
    "report": ("chaos.cli.report", "Write a run's reports again, and show its verdict."),
    "heal": ("chaos.cli.heal", "Remove whatever unfinished runs left behind."),
    "list": ("chaos.cli.list_", "List experiments, suites, targets, profiles, objectives, runbooks."),
    "init": ("chaos.cli.init", "Lay out a folder for your own services; it runs as it is."),
    "doctor": ("chaos.cli.doctor", "Tell what is installed and reachable, and what to do about the rest."),
    "proxy": ("chaos.cli.proxy", "Serve the embedded fault proxy (Toxiproxy's API)."),
    "demo": ("chaos.cli.demo", "Serve the demo environment and evals in the foreground."),
    "schema": ("chaos.cli.schema", "Print the JSON Schema of all documents."),
}

_SELF_HEALING = {"run", "capacity", "validate", "plan", "judge", "report", "list", "init", "doctor"}


class Commands(click.Group):
    """A group whose commands are imported on use; its help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a hint for a mistyped name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="brownout")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Break RL environments and eval services on purpose, and learn whether their scores can be trusted.

    \b
    Exit codes: 0 pass, 1 fail, 2 bad input, 3 inconclusive, 4 stopped,
    5 heal incomplete, 70 a defect of Brownout, 130/143 interrupted.
    """
    if ctx.invoked_subcommand in _SELF_HEALING:
        from chaos.cli.leftovers import heal_first

        ctx.obj = heal_first()


def main() -> None:
    """The entry point: runs a command and exits with its code (see `chaos.exits`)."""
    sys.exit(_run())


class _Patient:
    """A stream whose reader may go (`| head`): what is written after that is lost, the exit code is not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or go on in silence."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        """Flush, or go on in silence."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def _run() -> int:
    sys.stdout = cast(TextIO, _Patient(sys.stdout))
    try:
        return int(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the one place where a defect of ours is told apart from everything expected
        return _explain(error)


def _explain(error: Exception) -> int:
    from chaos.documents.problems import BadInput

    if isinstance(error, BadInput):
        click.echo(str(error), err=True)
        return 2
    traceback.print_exception(error)
    told = f"This is a defect of Brownout {__version__}, not of your input. Please report the lines above."
    click.echo(f"\n{told}", err=True)
    return 70
