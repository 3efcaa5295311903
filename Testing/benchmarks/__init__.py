"""Benchmarks on real scans: robustness, speed, accuracy, repeatability."""

from DeepRegLib.allocator import keep_freed_memory
from DeepRegLib.threads import wait_briefly

# As a registration from the command line or the panel does; the scripts of other tools come by here as well.
wait_briefly()
keep_freed_memory()
