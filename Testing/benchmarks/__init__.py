"""Benchmarks on real scans: robustness, speed, accuracy, repeatability."""

from DeepRegLib.threads import wait_briefly

wait_briefly()  # as a registration from the command line or the panel does
