"""From a data spec to the object that knows its images."""

from __future__ import annotations

from bench.data.listing import ResidentSource, StreamingSource
from bench.errors import BadInput, nearest
from bench.spec import DataSpec

STREAMING = ("", "hfds/", "wds/")
"""Beginnings of the dataset names that can be streamed with random access."""


def find_source(spec: DataSpec) -> ResidentSource | StreamingSource:
    """The source of a spec; `spec.source == "streaming"` gives a StreamingSource. BadInput for an unknown dataset."""
    if spec.source == "digits":
        from bench.data.digits import DigitsSource

        return DigitsSource(spec)
    if spec.source == "folder":
        from bench.data.folder import FolderSource

        return FolderSource(spec)
    if spec.source == "streaming":
        return _streaming(spec)
    from bench.data.cifar import CifarSource

    return CifarSource(spec)


def _streaming(spec: DataSpec) -> StreamingSource:
    prefix, slash, _ = spec.dataset.partition("/")
    prefix = prefix.lower() + slash
    if prefix == "":
        from bench.data.streamed_folder import StreamedFolder

        return StreamedFolder(spec)
    if prefix == "wds/":
        from bench.data.shards import ShardSource

        return ShardSource(spec)
    if prefix == "hfds/":
        from bench.data.hugging_face import HuggingFaceSource

        return HuggingFaceSource(spec)
    if prefix in ("hfids/", "tfds/"):
        raise BadInput(f"data.dataset '{spec.dataset}' has an order of its own and no random access; use hfds/ or wds/")
    raise BadInput(
        f"data.dataset '{spec.dataset}': {nearest(prefix, STREAMING[1:])} Leave it empty for a folder of images, or "
        "give hfds/NAME or wds/"
    )
