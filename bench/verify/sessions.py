"""A timing session: known arms, positive times, whole rounds."""

from __future__ import annotations

from collections.abc import Iterator

from bench.verify.lines import RecordFile, finite, outside, unexpected, whole
from bench.verify.problem import Problem


def check_session(file: RecordFile) -> Iterator[Problem]:
    """Every problem of one `speed/<session>.jsonl`."""
    yield from file.problems
    yield from unexpected(file, ("begin", "arm", "sample", "end"))
    if not file.lines or file.lines[0].kind != "begin" or len(file.of("begin")) != 1:
        yield file.problem(file.lines[0] if file.lines else None, "needs one `begin`, as its first line")
        return
    for name in ("hardware", "precision", "torch", "cell"):
        if not isinstance(file.lines[0].fields.get(name), str):
            yield file.problem(file.lines[0], f"does not say its {name}")
    arms = {str(line.fields.get("arm")) for line in file.of("arm") if "skipped" not in line.fields}
    for line in file.of("arm"):
        for name in ("passes_per_step", "peak_memory", "images_per_step"):
            value = line.fields.get(name)
            if value is not None and outside(value, 0.0, float("inf")):
                yield file.problem(line, f"impossible {name} {value!r}")
    seen: set[tuple[str, int]] = set()
    for line in file.of("sample"):
        arm, place, seconds = str(line.fields.get("arm")), whole(line.fields.get("round")), line.fields.get("seconds")
        if arm not in arms:
            yield file.problem(line, f"a time of '{arm}', which no `arm` line names")
        if (finite(seconds) or 0.0) <= 0:
            yield file.problem(line, f"impossible step time {seconds!r}")
        if place is None or place < 0 or (arm, place) in seen:
            yield file.problem(line, f"round {place!r} of '{arm}' is no round, or there a second time")
        else:
            seen.add((arm, place))
