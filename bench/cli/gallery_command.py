"""`mixbench gallery`."""

from __future__ import annotations

import argparse

from bench.config.folders import ConfigFolders
from bench.config.overrides import parse_set_options
from bench.config.sections import Resolved, resolve_method, resolve_section
from bench.errors import EXIT_FINE, BadInput
from bench.records.errors import storage
from bench.spec import BackboneSpec, DataSpec, Labels, ProtocolSpec, Spec

MOST_IMAGES = 64


def run(options: argparse.Namespace) -> int:
    """Draw what the methods that mix in pixel space make of the same image pairs."""
    if options.output.suffix.lower() != ".png":
        raise BadInput(f"-o {options.output}: the gallery is a PNG picture; end the name in .png")
    if not 2 <= options.images <= MOST_IMAGES:
        raise BadInput(f"--images {options.images}: a gallery has 2 to {MOST_IMAGES} images")
    specs = _specs(options)
    with storage("cannot make", options.output.parent):
        options.output.parent.mkdir(parents=True, exist_ok=True)
    from bench.page.method_gallery import draw_method_gallery

    with storage("cannot write", options.output):
        draw_method_gallery(options.output, specs, options.images, options.masks)
    print(options.output)
    return EXIT_FINE


def _specs(options: argparse.Namespace) -> dict[str, Spec]:
    """The chosen arms; by default every arm that is called like its implementation."""
    folders = ConfigFolders()
    given = parse_set_options(options.assignments)
    if given.axes:
        raise BadInput(f"--set {next(iter(given.axes))}: use --{next(iter(given.axes))} here")
    data: Resolved[DataSpec] = resolve_section("data", options.data, "--data", folders, [given])
    backbone: Resolved[BackboneSpec] = resolve_section("backbone", options.backbone, "--backbone", folders, [given])
    protocol = ProtocolSpec(epochs=2, batch_size=options.images, learning_rate=0.1)
    asked = [name.strip() for name in options.methods.split(",")] if options.methods else folders.names("method")
    found: dict[str, Spec] = {}
    for name in asked:
        method = resolve_method(name, "--methods", folders, [given]).spec
        if options.methods or name == method.implementation:
            labels = Labels(data=options.data, backbone=options.backbone, protocol="gallery", method=name)
            found[name] = Spec(
                data=data.spec, backbone=backbone.spec, protocol=protocol, method=method, seed=0, labels=labels
            )
    return found
