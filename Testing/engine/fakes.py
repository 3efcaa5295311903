"""A worker, a clock and a result that exist only in the test: no process, no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from DeepRegLib.engine.protocol import PROTOCOL_VERSION, Decoder, EngineError, Message, Piece, encode
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.engine.transport import Output
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.recipes import load_recipe
from DeepRegLib.result import Measures, Registration, Verdict, WorstPlace
from DeepRegLib.transforms import CompositeTransform, DisplacementField
from Testing.synthetic import geometry_in, random_linear

HELLO = {
    "protocol": PROTOCOL_VERSION,
    "versions": {"deepreg": "1"},
    "devices": ["cuda:0", "cpu"],
    "memory": {"cuda:0": 8 << 30, "cpu": None},
    "python": "python",
    "pid": 7,
}


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeWorker:
    """A transport whose other end is played by the test."""

    def __init__(self, refusal: EngineError | None = None) -> None:
        self.refusal = refusal
        self.outputs: list[Output] = []
        self.running = False
        self.killed = False
        self.stuck_bytes = 0
        self._decoder = Decoder()
        self._unread: list[Piece] = []
        self._messages: list[Message] = []

    def start(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.running = True

    def write(self, pieces: Iterable[Piece]) -> None:
        self._unread += pieces

    @property
    def received(self) -> list[Message]:
        """The messages so far; a real worker unpacks them in a process of its own, so this does when it is asked."""
        unread, self._unread = self._unread, []
        for piece in unread:
            self._messages += self._decoder.messages(bytes(piece))
        return self._messages

    def unsent(self) -> int:
        return self.stuck_bytes

    def read(self) -> list[Output]:
        found, self.outputs = self.outputs, []
        return found

    def terminate(self) -> None:
        self.running = False

    def kill(self) -> None:
        self.running = False
        self.killed = True

    def is_running(self) -> bool:
        if self.received and self.received[-1].type == "quit":
            self.running = False
        return self.running

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.say_bytes(b"".join(bytes(piece) for piece in encode(message)))

    def say_bytes(self, data: bytes) -> None:
        self.outputs.append(Output("stdout", data))

    def log(self, text: str) -> None:
        self.outputs.append(Output("stderr", text.encode()))

    def die(self, code: int) -> None:
        self.running = False
        self.outputs.append(Output("exit", code=code))

    def types(self) -> list[str]:
        return [message.type for message in self.received]


def tiny_image(name: str = "tiny", size: tuple[int, int, int] = (3, 4, 2)) -> Image:
    """Return a few int16 voxels on an oblique grid."""
    geometry = geometry_in("oblique", size, (0.7, 1.1, 3.3))
    return Image(np.arange(np.prod(size), dtype=np.int16).reshape(geometry.shape), geometry, name)


def random_field(geometry: Geometry, dtype: str = "f4") -> DisplacementField:
    return DisplacementField(np.random.default_rng(4).normal(size=(*geometry.shape, 3)).astype(dtype), geometry)


def hand_made_registration(fixed: Image, moving: Image) -> Registration:
    """Return a registration with every part filled in, computed by nobody."""
    grid = fixed.geometry
    inside = Image(np.arange(fixed.array.size).reshape(grid.shape) % 3 > 0, grid, "field of view")
    numbers = [float(number) for number in np.random.default_rng(1).normal(size=13)]
    measures = Measures(*numbers[:8], 3, *numbers[8:], float("nan"), dice_before={2: 0.5, 250: 1 / 3}, tre_after=0.1)
    return Registration(
        fixed=fixed,
        moving=moving,
        transform=CompositeTransform((random_linear(2), random_field(grid))),
        inverse=CompositeTransform((random_field(grid, "f8"), random_linear(5))),
        warped=Image(fixed.array[::-1], grid, "warped"),
        field_of_view=inside,
        fixed_foreground=Image(~inside.array, grid, "foreground"),
        measures=measures,
        verdict=Verdict("check", ("Half of it is outside.", "×")),
        recipe=load_recipe("fast"),
        warped_labels=Image(inside.array.astype(np.uint8), grid, "labels"),
        warped_layers=(Image(inside.array.astype(np.int16), grid, "first"), Image(~inside.array, grid, "second")),
        jacobian=Image(np.full(grid.shape, 1.5, np.float32), grid, "Jacobian determinant"),
        uncertainty=Image(np.full(grid.shape, 0.25, np.float32), grid, "uncertainty"),
        trust=Image(np.full(grid.shape, 0.5, np.float32), grid, "trust"),
        worst_places=(WorstPlace((1.0, -2.5, 3.0), 4.5, "edges fit better about 4 mm apart"),),
        warnings=("Careful.",),
        decisions=("CT: no.",),
        curves={"linear 0": np.array([0.1, 0.2, np.pi]), "deformable": np.zeros(0)},
        timings={"prepare": 0.25},
        provenance={"versions": {"deepreg": "1"}, "threads": 2},
    )


def result_message(number: int) -> Message:
    """Return what a worker answers when it has registered two tiny images."""
    return REGISTER.result_message(hand_made_registration(tiny_image(), tiny_image()), number)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead but not yet collected by its parent does not."""
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            return status.read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:  # it ended, perhaps while it was asked
            return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
