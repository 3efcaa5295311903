"""Benchmarks on real scans: robustness, speed, accuracy, repeatability."""

from DeepRegLib.process_setup import prepare_process

# As a registration from the command line or the panel does; the scripts of other tools come by here as well.
prepare_process()
