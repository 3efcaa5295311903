"""Benchmarks on real scans: robustness, speed, accuracy, repeatability."""
