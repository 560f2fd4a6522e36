"""Where config files are found: beside the suite file, in ./configs, and those that come with mixbench."""

from __future__ import annotations

from pathlib import Path

import bench
from bench.errors import BadInput, nearest

KINDS = ("data", "backbone", "protocol", "method", "suite", "eval", "evals", "gate", "cost")


def shipped_configs() -> Path:
    """The configs folder of the checkout, or of the installed package."""
    package = Path(bench.__file__).resolve().parent
    checkout = package.parent / "configs"
    return checkout if checkout.is_dir() else package / "_configs"


class ConfigFolders:
    """Looks names up in several configs folders; an earlier folder wins."""

    def __init__(self, *extra: Path) -> None:
        candidates = [*extra, Path.cwd() / "configs", shipped_configs()]
        self.folders = list(dict.fromkeys(folder.resolve() for folder in candidates if folder.is_dir()))

    def names(self, kind: str) -> list[str]:
        """All names of one kind ("data", "method", ...), sorted."""
        return sorted({path.stem for folder in self.folders for path in (folder / kind).glob("*.yaml")})

    def find(self, kind: str, name: str) -> Path | None:
        """The file of a name, or None."""
        if "/" in name or "\\" in name or name.startswith("."):
            return None
        return next((path for folder in self.folders if (path := folder / kind / f"{name}.yaml").is_file()), None)

    def get(self, kind: str, name: str, asked_in: str) -> Path:
        """The file of a name; BadInput with the nearest name when there is none. asked_in: who asks."""
        path = self.find(kind, name)
        if path is None:
            raise BadInput(f"{asked_in}: unknown {kind} '{name}'; {nearest(name, self.names(kind))}")
        return path


def find_suite(given: str) -> tuple[Path, ConfigFolders]:
    """The suite file that a person named by path or by name, and the folders in which its names are looked up."""
    path = Path(given)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            inside = shipped_configs().parent / given
            shipped = shipped_configs() / Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else inside
            if not shipped.is_file():
                raise BadInput(f"{given}: no such suite file; {nearest(path.stem, ConfigFolders().names('suite'))}")
            path = shipped
        own = path.resolve().parent.parent
        return path, ConfigFolders(*([own] if path.resolve().parent.name == "suite" else []))
    folders = ConfigFolders()
    if len(path.parts) > 1:
        what = "is a folder, not a suite" if path.is_dir() else "no such file or folder"
        raise BadInput(f"{given}: {what}; {nearest(path.name, folders.names('suite'))}")
    return folders.get("suite", given, "the command line"), folders
