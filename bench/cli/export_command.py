"""`mixbench export`."""

from __future__ import annotations

import argparse
import json

from pydantic import ValidationError

from bench.cli.suite_options import store_of
from bench.errors import EXIT_FINE, BadInput
from bench.spec import Spec


def run(options: argparse.Namespace) -> int:
    """Write one run's weights to a file and tell how to load them."""
    store = store_of(options)
    if options.output.suffix != ".safetensors":
        raise BadInput(f"-o {options.output}: must end in .safetensors, by which timm knows how to read it")
    if not options.output.parent.is_dir():
        raise BadInput(f"-o {options.output}: there is no folder {options.output.parent}")
    names = {folder.name for folder in store.root.glob(f"{options.run_id}*/") if store.run(folder.name)}
    if len(names) != 1:
        raise BadInput(f"{options.run_id}: {len(names) or 'no'} runs in {store.root} have an id that begins so")
    record = store.run(names.pop())
    try:
        spec = Spec.model_validate(record.spec if record else {}, strict=False)
    except ValidationError:
        raise BadInput(f"{options.run_id}: its record does not say which run it is; see `mixbench check`") from None
    if record is None:
        raise BadInput(f"{options.run_id}: its record is gone")

    from bench.run.exported import export_weights

    header = export_weights(record, spec, options.output, options.best)
    if options.json:
        print(json.dumps(header, indent=1))
        return EXIT_FINE
    print(f"{options.output}: {header['method']} seed {header['seed']}, {header['backbone']}, {header['weights']}")
    if header["arguments"] is None:
        print("timm alone makes no such network; take it to `mixbench eval --checkpoint` or bench.backbones.build")
        return EXIT_FINE
    shown = "".join(f", {name}={value!r}" for name, value in header["arguments"].items())
    print(f"timm.create_model({header['backbone']!r}{shown}, checkpoint_path={str(options.output)!r})")
    return EXIT_FINE
