"""The task `register`: a pair of scans in, a registration out."""

from __future__ import annotations

from typing import Any

from DeepRegLib.engine.packing import Arrays, Content, pack, unpack
from DeepRegLib.engine.protocol import ProtocolError
from DeepRegLib.engine.task import Received, Task
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.registration import Registration
from DeepRegLib.request import Request
from DeepRegLib.result import CHECK, FAILED, OK

SCANS = ("fixed", "moving")
LEVELS = (OK, CHECK, FAILED)
ON_FIXED_GRID = (
    *("warped", "field_of_view", "fixed_foreground", "warped_labels", "jacobian"),
    *("uncertainty", "explanation", "trust"),
)


def _run(request: Request, progress: Progress, cancel: Cancel) -> Registration:
    from DeepRegLib.pipeline import run_request  # torch, which the client has not

    return run_request(request, progress=progress, cancel=cancel)


def pack_result(registration: Registration, arrays: Arrays) -> Content:
    """Return a registration as plain values, without its scans, which the client has; its arrays go into `arrays`."""
    return pack(registration, "result", arrays, without=SCANS)


def unpack_result(content: Any, arrays: Received, request: Request) -> Registration:
    """Return the registration of `pack_result` with the scans of its request.

    Raises
    ------
    ProtocolError
        If it is not one of these scans.
    """
    return checked(unpack(Registration, content, arrays, {name: getattr(request, name) for name in SCANS}))


def checked(registration: Registration) -> Registration:
    """Return a registration that was received, if it is one of its scans.

    Raises
    ------
    ProtocolError
        If an image lies on another grid than the fixed one, or its verdict is none there is.
    """
    found = registration
    if found.verdict.level not in LEVELS:
        raise ProtocolError(f"A result has the verdict {found.verdict.level[:40]!r}, which is unknown.")
    single = (getattr(found, name) for name in ON_FIXED_GRID)
    for image in (*single, *found.warped_layers, *found.warped_fractions):
        if image is not None and image.geometry.shape != found.fixed.geometry.shape:
            raise ProtocolError(
                f"A result has {image.name[:40]!r} of {image.geometry.size} voxels "
                f"for a fixed scan of {found.fixed.geometry.size}."
            )
        if image is not None and image.geometry != found.fixed.geometry:
            raise ProtocolError(f"A result has {image.name[:40]!r} on another grid than the fixed scan's.")
    if found.synthetic is not None and found.synthetic.geometry not in (found.fixed.geometry, found.moving.geometry):
        raise ProtocolError("A result has a synthetic scan on a grid of neither scan.")
    return registration


REGISTER = Task("register", Request, _run, pack_result, unpack_result)
