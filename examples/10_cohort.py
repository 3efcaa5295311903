"""A table of cases, two at a time, each in a process that may die; a second call does what is missing.

python examples/10_cohort.py TABLE.csv OUT [RECIPE]
"""

import sys
from pathlib import Path

from DeepRegLib.cohort.claiming import claimed
from DeepRegLib.cohort.coordinating import Event, run_all
from DeepRegLib.cohort.local_executor import LocalExecutor
from DeepRegLib.cohort.manifest import read_manifest
from DeepRegLib.cohort.plan import Choice, plan_of
from DeepRegLib.cohort.summary import write_summary
from DeepRegLib.versions import versions


def tell(event: Event) -> None:
    """Print a line when a case has ended."""
    if event.outcome is not None:
        print(f"{event.work.name}: {event.kind} {event.outcome.verdict or event.outcome.reason}")


def main(table: str, out: str, recipe: str = "auto") -> None:
    """Run the cases of a table, and write cohort.csv and cohort.html."""
    output, manifest = Path(out), read_manifest(table, {"recipe": recipe})
    with claimed(output):  # a second program that wants the folder is refused
        plan = plan_of(manifest, output, versions(), Choice())
        with LocalExecutor(2, {}) as executor:  # or those of a cluster: DeepRegLib.cohort.clusters.executor_of
            run_all((planned.work for planned in plan.todo), executor, output, told=tell)
        lines = write_summary(manifest, plan, output, {})
    print(f"{sum(line.status == 'done' for line in lines)} of {len(lines)} cases are done")


if __name__ == "__main__":
    main(*sys.argv[1:])
