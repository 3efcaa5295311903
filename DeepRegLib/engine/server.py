"""What the worker does: one thread reads messages, the main thread computes."""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from DeepRegLib.engine.errors import pack_error
from DeepRegLib.engine.failures import library_missing
from DeepRegLib.engine.protocol import PROTOCOL_VERSION, Decoder, EngineError, Message, Piece, ProtocolError, encode
from DeepRegLib.engine.task import REQUEST, Task
from DeepRegLib.engine.tasks import TASKS, task_of
from DeepRegLib.errors import CancelledError, DeepRegError
from DeepRegLib.monitoring import Progress
from DeepRegLib.process_setup import give_freed_memory_back

READ_BYTES = 1 << 20
PROGRESS_SECONDS = 0.1
IDLE_SECONDS = 60.0
LEAVING_SECONDS = 1.0


class Channel:
    """Whole messages out, bytes in; messages may be sent from any thread.

    Parameters
    ----------
    incoming, outgoing
        File descriptors.
    """

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._lock = threading.Lock()

    def receive(self) -> bytes:
        """Return the bytes that arrived, at least one; none once the other side has closed."""
        try:
            return os.read(self._incoming, READ_BYTES)
        except OSError:
            return b""

    def send(self, pieces: list[Piece]) -> None:
        """Write one message, as `encode` has it.

        Raises
        ------
        OSError
            If the other side has closed.
        """
        with self._lock:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(self._outgoing, rest[:READ_BYTES]) :]


@dataclass(eq=False)
class Order:
    """Work to be done; `cancelled` is set by the reading thread."""

    number: int
    task: Task[Any, Any]
    request: Any
    cancelled: threading.Event = field(default_factory=threading.Event)


class Server:
    """Answers messages until told to quit, or until the client closes its end.

    Parameters
    ----------
    channel
        The way to the client.
    idle_seconds
        Memory of the device is given back after so long without work.
    """

    def __init__(self, channel: Channel, idle_seconds: float = IDLE_SECONDS) -> None:
        self._channel = channel
        self._idle_seconds = idle_seconds
        self._work: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._orders: dict[int, Order] = {}
        self._free = threading.Event()
        self._free.set()

    def run(self) -> None:
        """Serve; does not return."""
        # The reader comes first, so that a client that leaves while torch is still loading is noticed.
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        try:
            self._send(Message("hello", 0, introduction()))
        except Exception as error:  # noqa: BLE001  # whatever torch's loading throws is what the user must know
            self._send(pack_error(_unusable(error), 0, traceback.format_exc()))
            self._leave(1)
        while True:
            self._serve_next()

    def _serve_next(self) -> None:
        try:
            order = self._work.get(timeout=self._idle_seconds)
        except queue.Empty:
            release_memory()
            order = self._work.get()
        if order is None:
            release_memory()
            return
        self._free.clear()
        try:
            self._send_pieces(self._compute(order))
        finally:
            self._orders.pop(order.number, None)
            self._free.set()

    def _compute(self, order: Order) -> list[Piece]:
        number, task = order.number, order.task
        try:
            result = task.run(order.request, self._reporter(number), order.cancelled.is_set)
            return encode(task.result_message(result, number))
        except CancelledError as error:
            return encode(pack_error(error, number))
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in a run is told to the client, who has the user
            return encode(pack_error(error, number, traceback.format_exc()))

    def _reporter(self, number: int) -> Progress:
        throttle = Throttle(PROGRESS_SECONDS)

        def report(stage: str, fraction: float, similarity: float | None, seconds_left: float | None) -> None:
            if throttle.lets_pass(stage):
                content = {
                    "stage": stage,
                    "fraction": fraction,
                    "similarity": similarity,
                    "seconds_left": seconds_left,
                }
                self._send(Message("progress", number, content))

        return report

    def _read(self) -> None:
        decoder = Decoder()
        try:
            while data := self._channel.receive():
                decoder.feed(data)
                self._handle_all(decoder)
        except Exception:  # noqa: BLE001  # a worker without its reader would hear nobody, and stay
            traceback.print_exc()
            self._leave(1)
        self._leave(0)

    def _handle_all(self, decoder: Decoder) -> None:
        while True:
            try:
                message = decoder.next_message()
            except ProtocolError as error:
                self._send(pack_error(error, 0))
                continue
            if message is None:
                return
            self._handle(message)

    def _handle(self, message: Message) -> None:
        handlers: dict[str, Callable[[Message], None]] = {
            REQUEST: self._accept,
            "cancel": self._cancel,
            "release": lambda _: self._work.put(None),
            "ping": lambda ping: self._send(Message("pong", ping.id)),
            "quit": lambda _: self._leave(0),
        }
        try:
            if message.type not in handlers:
                raise ProtocolError(f"A message of the type {message.type[:40]!r} is unknown.")
            handlers[message.type](message)
        except DeepRegError as error:
            self._send(pack_error(error, message.id))
        except Exception as error:  # noqa: BLE001  # the reading thread must live on, and the client is told
            self._send(pack_error(error, message.id, traceback.format_exc()))

    def _accept(self, message: Message) -> None:
        if message.id in self._orders:
            raise ProtocolError(f"A request with the id {message.id} is running already.")
        task = task_of(message, TASKS)
        order = Order(message.id, task, task.request_of(message))
        self._orders[order.number] = order
        self._work.put(order)

    def _cancel(self, message: Message) -> None:
        order = self._orders.get(message.id)
        if order is not None:
            order.cancelled.set()

    def _send(self, message: Message) -> None:
        self._send_pieces(encode(message))

    def _send_pieces(self, pieces: list[Piece]) -> None:
        try:
            self._channel.send(pieces)
        except OSError:
            self._leave(0)

    def _leave(self, status: int) -> None:
        """End the process, whatever the other thread is doing; a run gets a moment to stop by itself."""
        for order in list(self._orders.values()):
            order.cancelled.set()
        if threading.current_thread() is not threading.main_thread():
            self._free.wait(LEAVING_SECONDS)
        os._exit(status)


class Throttle:
    """Lets a report pass if the stage is new or `seconds` have gone by."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = -float("inf")
        self._stage = ""

    def lets_pass(self, stage: str) -> bool:
        """Tell whether to pass a report on."""
        now = time.monotonic()
        if stage == self._stage and now - self._last < self._seconds:
            return False
        self._stage, self._last = stage, now
        return True


def introduction() -> dict[str, Any]:
    """Return what the worker says of itself; loads torch and the pipeline, so that the first run need not."""
    import DeepRegLib.pipeline  # noqa: F401  # loaded for its own sake
    from DeepRegLib.devices import available_devices
    from DeepRegLib.versions import versions

    devices = available_devices()
    return {
        "protocol": PROTOCOL_VERSION,
        "versions": versions(),
        "devices": devices,
        "memory": {name: _free_memory(name) for name in devices},
        "python": sys.executable,
        "pid": os.getpid(),
    }


def _free_memory(device: str) -> int | None:
    from DeepRegLib.devices import free_memory

    try:
        return free_memory(device)
    except RuntimeError:  # a broken driver is told when the device is used
        return None


def release_memory() -> None:
    """Give back what torch and the system's allocator keep for the next run."""
    import torch

    gc.collect()
    give_freed_memory_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _unusable(error: Exception) -> EngineError:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return library_missing(error.name, sys.executable)
    return EngineError(
        f"The engine cannot be loaded in {sys.executable} ({type(error).__name__}: {error}).",
        "Repair that Python environment, or choose another one.",
    )
