"""Stands in for `DeepRegLib.cli.serving`: writes small results without torch; a case's name tells how it goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from DeepRegLib.cohort.running_case import run_case
from DeepRegLib.cohort.work import DONE, Limits, Outcome, Work

RESULT = {
    "verdict": {"level": "ok", "reasons": []},
    "warnings": ["One warning, with a comma."],
    "measures": {"ncc_after": 0.75, "folds": 0, "dice_after": {"1": 0.5, "2": 1.0}, "tre_after": None},
    "fixed": {"size": [3, 4, 5]},
    "provenance": {"device": os.environ.get("CUDA_VISIBLE_DEVICES", "cpu"), "versions": {"deepreg": "x"}},
    "files": {"result": "result.json", "warped": "warped.nii.gz"},
}


def deepreg(words: Sequence[str]) -> int:
    """Do what a name asks for in place of a registration."""
    folder = Path(next(word for word in words if word.startswith("--output=")).partition("=")[2])
    fixed = Path(words[-2])
    print(f"running {fixed.name}", file=sys.stderr, flush=True)
    wanted = fixed.name.partition(".")[0].partition("-")[0]
    if wanted.startswith("sleep"):
        time.sleep(float(wanted.removeprefix("sleep")) / 10)
    if wanted == "hang":
        time.sleep(60)
    if wanted == "interrupt":  # as Ctrl-C does to whoever asked for this case
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)
    if wanted == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == "eat":
        eaten = bytearray(300 << 20)
        time.sleep(60)
        print(len(eaten))
    if wanted == "once" and not (mark := fixed.with_suffix(".mark")).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == "cancelled" and not (mark := fixed.with_suffix(".mark")).exists():
        mark.touch()
        subprocess.run(["scancel", os.environ["SLURM_JOB_ID"]], check=True)
        time.sleep(60)
    if wanted == "refused":
        print("error: fixed.nii.gz is damaged.", file=sys.stderr, flush=True)
        return 2
    if wanted == "full":
        print("error: The disk holding results is full. Free some space.", file=sys.stderr, flush=True)
        return 2
    if wanted == "unregistered":
        print("error: No overlap was found.", file=sys.stderr, flush=True)
        return 1
    (folder / "warped.nii.gz").write_bytes(fixed.read_bytes())
    level = "failed" if wanted == "wrong" else "ok"
    (folder / "result.json").write_text(json.dumps(RESULT | {"verdict": {"level": level, "reasons": []}}))
    return 0


def step(work: Work) -> Outcome:
    """Add up numbers, or sums in files, in place of a step of a template."""
    given = work.case["arguments"]
    numbers = given.get("members") or [int(Path(part).read_text(encoding="ascii")) for part in given["parts"]]
    Path(given["to"]).write_text(str(sum(numbers)), encoding="ascii")
    return Outcome(DONE)


def main() -> None:
    """Serve as the real one does."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"hello": os.getpid()}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        log = request.pop("log")
        work = Work(**request | {"limits": Limits(**request["limits"])})
        answer = asdict(step(work) if work.step else run_case(work, deepreg, log))
        del answer["host"], answer["seconds"]
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
