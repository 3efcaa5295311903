"""Train a network on random shapes, make it a model, and register with it.

python examples/08_train.py FIXED MOVING OUT [ITERATIONS]
"""

import sys
from pathlib import Path

from DeepRegLib import register
from DeepRegLib.training import export, load_config, train

CONFIG = """
name = "shapes"
images = {{ size = [32, 32, 32], spacing = 3.0, early = 0.0 }}
network = {{ arguments = {{ channels = [8, 16, 16] }} }}
optimisation = {{ iterations = {iterations}, batch = 1 }}
"""


def main(fixed: str, moving: str, out: str, iterations: str = "2000") -> None:
    """Train for some iterations; a useful model takes thousands, see docs/training.md."""
    folder = Path(out)
    folder.mkdir(parents=True)
    config = folder / "shapes.toml"
    config.write_text(CONFIG.format(iterations=int(iterations)), encoding="utf-8")

    train(load_config(config), folder / "run", report=lambda entry: print(entry["iteration"], entry.get("loss")))
    bundle = export(folder / "run", folder / "model")
    result = register(fixed, moving, recipe="fast", model=bundle.folder)
    print("\n".join(result.decisions))  # whether its field was used, and why


if __name__ == "__main__":
    main(*sys.argv[1:])
