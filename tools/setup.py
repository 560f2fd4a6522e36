"""Make the virtual environment that the Makefile uses: `python3 tools/setup.py .venv`.

Does nothing when the environment was made from the current lock file. Needs Python 3.11 or newer and only its
standard library.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)


def main(folder: str) -> int:
    """Create or update the environment; returns an exit code."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        return fail(f"mixbench needs Python 3.11 or newer, this is {found}; try: make PYTHON=python3.12 bench")
    environment = ROOT / folder
    stamp = environment / ".installed"
    lock = ROOT / "requirements.lock"
    wanted = hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    python = environment / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return 0
    if not python.exists():
        say(f"Making the environment {folder} with Python {sys.version_info[0]}.{sys.version_info[1]} ...")
        done = subprocess.run([sys.executable, "-m", "venv", str(environment)], capture_output=True, text=True)
        if done.returncode:
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            return fail(
                "Python's venv module is missing or broken; on Debian or Ubuntu: "
                f"sudo apt-get install python{version}-venv (then remove {folder} and try again)"
            )
    say("Installing the locked packages (torch is large: some minutes and about 6 GB the first time) ...")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    if subprocess.run([*pip, "install", "--require-hashes", "-r", str(lock)]).returncode:
        return fail("the packages could not be installed; see pip's message above")
    if subprocess.run([*pip, "install", "--no-deps", "--no-build-isolation", "-e", str(ROOT)]).returncode:
        return fail("mixbench itself could not be installed; see pip's message above")
    stamp.write_text(wanted)
    say("The environment is ready.")
    return 0


def say(line: str) -> None:
    """A line on stderr, at once."""
    print(line, file=sys.stderr, flush=True)


def fail(line: str) -> int:
    """Say why and return the exit code for bad input."""
    say(f"mixbench: {line}")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ".venv"))
