"""The process of a cohort that runs one case after another: `python -m DeepRegLib.cli.serving`.

It reads a line of JSON a case and answers with one; what is printed goes to standard error. It leaves when its input
closes, in the middle of a case too: a case that nobody waits for is not finished.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import signal
import threading
from dataclasses import asdict
from typing import Any

from DeepRegLib.engine.worker import take_over_streams
from DeepRegLib.process_setup import give_freed_memory_back, prepare_process


def main() -> None:
    """Serve until the input closes."""
    incoming, outgoing = take_over_streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(incoming, lines), daemon=True).start()
    prepare_process()
    import DeepRegLib.pipeline
    import DeepRegLib.report  # noqa: F401  # loaded before the first case is waited for
    from DeepRegLib.cli import main as deepreg
    from DeepRegLib.cohort.running_case import run_case, run_step
    from DeepRegLib.cohort.work import Limits, Work

    _answer(outgoing, {"hello": os.getpid()})
    while True:
        request = json.loads(lines.get())
        log = request.pop("log")
        work = Work(**request | {"limits": Limits(**request["limits"])})
        outcome = run_step(work, log) if work.step else run_case(work, deepreg, log)
        _give_memory_back()
        answer = asdict(outcome)
        # Who asked knows better where and how long.
        del answer["host"], answer["seconds"]
        _answer(outgoing, answer)


def _read(incoming: int, lines: queue.SimpleQueue[bytes]) -> None:
    with os.fdopen(incoming, "rb") as stream:
        for line in stream:
            lines.put(line)
    os._exit(0)


def _answer(outgoing: int, table: dict[str, Any]) -> None:
    data = json.dumps(table).encode() + b"\n"
    try:
        while data:
            data = data[os.write(outgoing, data) :]
    except OSError:
        os._exit(0)


def _give_memory_back() -> None:
    gc.collect()
    give_freed_memory_back()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
