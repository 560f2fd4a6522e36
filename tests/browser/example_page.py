"""A page with everything on it, made from small records, and the same page with very many rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.page import Gallery, Part, Picture, Strip, page_html
from bench.records import Store
from bench.report import Tables, build_tables
from bench.report.study import Cell, Row, Study
from bench.report.table import Record, Table
from tests.golden.tables.example_records import make_spec, write_clean, write_run, write_session
from tests.golden.tables.robust_records import write_everything

HOSTILE = '<img src=x onerror="window.broken=1">\'"</script><script>window.broken=2</script>&lt;b&gt;\u2028%{x}'
METHODS = {"erm": "erm", "mixup": "mixup", "augmix": "augmix", "alignmix": "alignmix", HOSTILE: "cutmix"}
DATA = ("cifar10", "cifar100")
SEEDS = 2
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def example_tables(root: Path) -> Tables:
    """Two data sets, five methods, two seeds; one run of augmix diverged, alignmix has no robustness."""
    for place, data in enumerate(DATA):
        timed = []
        for number, (method, implementation) in enumerate(METHODS.items()):
            for seed in range(SEEDS):
                spec = make_spec(method, seed, implementation=implementation, data=data)
                top1 = 0.75 + 0.02 * number + 0.005 * seed - 0.2 * place
                if (method, seed) == ("augmix", 1):
                    reason = f"loss is not finite {HOSTILE}"
                    write_run(root, spec, None, status="diverged", reason=reason, planned=range(SEEDS))
                    continue
                folder = write_run(root, spec, top1, planned=range(SEEDS))
                write_clean(folder, top1)
                if method != "alignmix":
                    write_everything(folder, method, top1)
                if seed == 0:
                    timed.append((spec, [0.02 * (1 + 0.2 * number) * (1 + 0.01 * (one % 4)) for one in range(8)]))
        write_session(root, timed, name=f"20260102T000000.000000Z-0000000{place}")
    store = Store(root)
    return build_tables(store.runs(), store.sessions())


def example_gallery() -> Gallery:
    """One strip with hostile names."""
    strip = Strip(HOSTILE, [Picture(PIXEL, f"a {HOSTILE}")] * 6, "lam 0.50")
    return Gallery("cifar10", 112, [strip], "One pixel, six times.")


def example_html(tables: Tables) -> str:
    """The page of the example tables."""
    return page_html([Part(f"Example {HOSTILE}", tables, "A note.")], [example_gallery()])


def many_rows(tables: Tables, count: int) -> Tables:
    """The same tables with the rows of the four main ones repeated under other names up to `count`."""
    names = [f"copy-{number:04}" for number in range(count // sum(len(cell.rows) for cell in tables.study.cells))]
    cells = [
        Cell(cell.id, cell.data, cell.backbone, cell.protocol, [_row(row, name) for row in cell.rows for name in names])
        for cell in tables.study.cells
    ]
    study = Study(cells, tables.study.notes, tables.study.planned, tables.study.reference)

    def repeated(table: Table) -> Table:
        return replace(
            table, rows=[_record(row, name, place) for row in table.rows for place, name in enumerate(names)]
        )

    return replace(
        tables, study=study, leaderboard=repeated(tables.leaderboard), accuracy=repeated(tables.accuracy),
        robustness=repeated(tables.robustness), throughput=repeated(tables.throughput), details=[],
    )  # fmt: skip


def _row(row: Row, name: str) -> Row:
    return replace(row, arm=f"{row.arm}-{name}", name=f"{name} {row.name}")


def _record(row: Record, name: str, place: int) -> Record:
    moved = {key: value + place / 1000 for key, value in row.items() if isinstance(value, float)}
    return {**row, **moved, "arm": f"{row['arm']}-{name}", "method": f"{name} {row['method']}"}
