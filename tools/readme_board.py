"""Write the README's board from the committed records' tables; with --check say whether it is current.

python tools/readme_board.py [--check]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "results" / "reference" / "robustness-study" / "tables"
README = ROOT / "README.md"
BEGIN, END = "<!-- board: written by tools/readme_board.py -->", "<!-- end of board -->"


def board(tables: Path) -> str:
    """The board as a Markdown table: clean, corrupted, attacked, calibration and cost of each method."""
    leaders = _rows(tables / "leaderboard.csv")
    robust = {row["method"]: row for row in _rows(tables / "robustness.csv")}
    lines = [
        "| method | runs | top-1 % | corrupted % | minus erm [95 %] | APGD 1/255 % | ECE % (scaled) | time / erm |",
        "| :-- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for row in leaders:
        found = robust[row["method"]]
        cells = [
            row["method"], f"{row['n_ok']}/{row['n_planned']}", _one(row["top1"]), _one(row["corruption_mean"]),
            _difference(row, "corruption_difference"), _one(found["apgd_linf_1"]),
            f"{_one(found['ece_15'])} ({_one(found['ece_15_scaled'])})", _one(row["ratio"], 2),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_board(text: str, made: str) -> str:
    """The README with the board between its markers. ValueError where they are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("README.md has no markers for the board")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """0 when the README is (or now is) current, 1 when --check finds it is not."""
    text = README.read_text(encoding="utf-8")
    made = with_board(text, board(TABLES))
    if "--check" in arguments:
        if made != text:
            print("README.md: its board is not that of the committed records; run `make cards`", file=sys.stderr)
        return int(made != text)
    README.write_text(made, encoding="utf-8")
    return 0


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _one(text: str, decimals: int = 1) -> str:
    return f"{float(text):.{decimals}f}" if text else "not measured"


def _difference(row: dict[str, str], name: str) -> str:
    if not row[name]:
        return "reference"
    return f"{float(row[name]):+.1f} [{float(row[name + '_low']):+.1f}, {float(row[name + '_high']):+.1f}]"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
