"""`python -m loadtests.workloads NAME ...`: make the virtual environments of programs that are a load."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv

from loadtests.workloads import NAMES, STAMP, home, is_made, requirements


def make(name: str) -> None:
    """Build the environment anew, every file checked against its hash; the stamp comes last.

    Raises:
        OSError: the folder cannot be written to.
        subprocess.CalledProcessError: pip could not install what is required; it has said why.
    """
    folder = home() / name
    print(f"making {folder} from {requirements(name)} (about a minute)", flush=True)  # noqa: T201
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    wanted = ["install", "--quiet", "--require-hashes", "--requirement", str(requirements(name))]
    subprocess.run([*pip, *wanted], check=True)
    (folder / STAMP).touch()


def main(names: list[str]) -> int:
    """Make those that are not made yet; 2 for a name that is none, 1 when one cannot be made."""
    if not names or not set(names) <= set(NAMES):
        print(f"usage: python -m loadtests.workloads {' '.join(NAMES)}", file=sys.stderr)  # noqa: T201
        return 2
    for name in names:
        if is_made(name):
            continue
        try:
            make(name)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
