"""Many scans onto one, in a worker process that stays warm; a scan that fails does not end the others.

python examples/07_many.py FIXED FOLDER_OF_MOVING OUT [RECIPE]
"""

import sys
from pathlib import Path

from DeepRegLib import load_recipe, read_image
from DeepRegLib.engine.client import subprocess_client
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.errors import DeepRegError
from DeepRegLib.request import Request


def main(fixed: str, folder: str, out: str, recipe: str = "auto") -> None:
    """Register each scan of a folder and print a line for it."""
    scan, chosen = read_image(fixed), load_recipe(recipe)
    client = subprocess_client()  # or of another computer: subprocess_client(ssh_command("HOST"))
    try:
        for moving in sorted(Path(folder).glob("*.nii.gz")):
            name = moving.name.removesuffix(".nii.gz")
            try:
                result = client.run(REGISTER, Request(scan, read_image(moving), chosen))
            except DeepRegError as error:
                print(f"{name}: {error}")
                continue
            result.save(Path(out) / name)
            print(f"{name}: {result.verdict.level}, edges agree to {result.measures.structure_after:.2f}")
    finally:
        client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
