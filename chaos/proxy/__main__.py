"""`python -m chaos.proxy`: the same as `brownout proxy`."""

from __future__ import annotations

from chaos.cli.proxy import command

if __name__ == "__main__":
    command(prog_name="python -m chaos.proxy")
