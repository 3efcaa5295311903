"""Register two scans and look at what comes back.

python examples/01_register.py FIXED MOVING OUT [RECIPE]
"""

import sys

from DeepRegLib import register


def main(fixed: str, moving: str, out: str, recipe: str = "auto") -> None:
    """Bring the moving scan onto the fixed one and save everything in a folder."""
    result = register(fixed, moving, recipe=recipe)

    print("verdict:", result.verdict.level)
    for reason in (*result.verdict.reasons, *result.warnings):
        print("  ", reason)
    print("edges agree to", round(result.measures.structure_after, 2), "- folds:", result.measures.folds)

    result.save(out)  # transform.h5, inverse.h5, warped.nii.gz, result.json, report.html


if __name__ == "__main__":
    main(*sys.argv[1:])
