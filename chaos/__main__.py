"""`python -m chaos` is `brownout`."""

from chaos.cli import main

main()
