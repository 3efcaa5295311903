"""ANTs frame by frame, and ANTs' template of a group, with the settings of its quick scripts as ANTsPy has them.

Started as `python -m ... FOLDER frames|template ANSWER`; the folder holds ``frame_0000.nii.gz`` and so on.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

QUICK = "antsRegistrationSyNQuick[s]"
PASSES = 3


def frames_of(folder: Path) -> dict[str, Any]:
    """Register every frame to the first; return files and the processor's seconds without imports."""
    import ants

    images = [ants.image_read(str(path)) for path in sorted(folder.glob("frame_*.nii.gz"))]
    begun = time.process_time()
    transforms = [_registered(images[0], image, folder, number) for number, image in enumerate(images) if number]
    return {"transforms": [[], *transforms], "seconds": time.process_time() - begun}


def template_of(folder: Path) -> dict[str, Any]:
    """Build a template of the frames, and register each to it; return files as above."""
    import ants

    images = [ants.image_read(str(path)) for path in sorted(folder.glob("frame_*.nii.gz"))]
    begun = time.process_time()
    template = ants.build_template(image_list=images, iterations=PASSES, type_of_transform=QUICK)
    seconds = time.process_time() - begun
    path = folder / "template.nii.gz"
    ants.image_write(template, str(path))
    transforms = [_registered(template, image, folder, number) for number, image in enumerate(images)]
    return {"transforms": transforms, "template": str(path), "seconds": seconds}


def _registered(fixed: Any, moving: Any, folder: Path, number: int) -> list[str]:
    import ants

    prefix = str(folder / f"ants_{number:04d}_")
    found = ants.registration(fixed, moving, type_of_transform=QUICK, outprefix=prefix)
    return [str(path) for path in found["fwdtransforms"]]


if __name__ == "__main__":
    place, what, answer = sys.argv[1:]
    done = frames_of(Path(place)) if what == "frames" else template_of(Path(place))
    Path(answer).write_text(json.dumps(done), encoding="utf-8")
