"""What the tools' scripts share: what they are told, their clock and their answer.

Standard library only: a tool may need an interpreter that has nothing of DeepReg's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from Testing.benchmarks.child import peak_memory

NOT_INSTALLED = "not installed"
# Keys of an answer, and folders for the transforms, of `Job.both_ways`.
BACK, ITSELF = "back", "itself"
INVERSE = "inverse.h5"  # beside the transform, by a tool that gives one


@dataclass(frozen=True)
class Job:
    """One registration.

    Parameters
    ----------
    fixed, moving
        Image files.
    output
        Folder for the transform; empty at first.
    threads
        How many threads to use.
    multimodal
        Whether the images are of different kinds, which the person at the machine knows and tells most tools.
    variant
        Which of the tool's ways to take.
    both_ways
        Whether to register the swapped images too, and the fixed one to itself.
    """

    fixed: Path
    moving: Path
    output: Path
    threads: int
    multimodal: bool
    variant: str
    both_ways: bool = False


@dataclass(frozen=True)
class Clock:
    """Seconds by phase: `start` (imports), `read`, `register` (the registration proper), `write`.

    `seconds` are those on the wall, `processor` those of all threads together.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase; phases of the same name add up."""
        begin, worked = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
        self.processor[name] = self.processor.get(name, 0.0) + time.process_time() - worked


# Registers, and returns the transform files in the order in which they are applied to points of the fixed image.
Registration = Callable[[Job, Clock], list[Path]]


def run(register: Registration) -> None:
    """Do the job of the command line and write the answer to the path it gives last."""
    fixed, moving, output, threads, multimodal, variant, both_ways, answer = sys.argv[1:]
    paths = Path(fixed), Path(moving), Path(output)
    job = Job(*paths, int(threads), multimodal == "True", variant, both_ways == "True")
    Path(answer).write_text(json.dumps(answer_of(register, job)), encoding="utf-8")


def answer_of(register: Registration, job: Job) -> dict[str, Any]:
    """Return the transform files with times, memory and device, or an error where the tool is not there."""
    clock = Clock()
    try:
        transforms = register(job, clock)
    except ModuleNotFoundError as error:
        return {"error": f"{NOT_INSTALLED} ({error})"}
    answer = {
        "transforms": [str(path) for path in transforms],
        "seconds": clock.seconds,
        "processor": clock.processor,
        "peak GB": peak_memory(),
        **graphics_memory(),
    }
    return answer | (other_ways(register, job) if job.both_ways else {})


def other_ways(register: Registration, job: Job) -> dict[str, list[str]]:
    """Return the transform files from the moving image to the fixed one, and from the fixed one to itself."""
    ways = {BACK: replace(job, fixed=job.moving, moving=job.fixed), ITSELF: replace(job, moving=job.fixed)}
    found = {}
    for name, way in ways.items():
        folder = job.output / name
        folder.mkdir()
        found[name] = [str(path) for path in register(replace(way, output=folder), Clock())]
    return found


def graphics_memory() -> dict[str, Any]:
    """Return the GPU that torch used and the most memory it took there; nothing where it used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.max_memory_allocated():
        return {}
    return {"device": torch.cuda.get_device_name(), "GPU GB": torch.cuda.max_memory_allocated() / 1e9}
