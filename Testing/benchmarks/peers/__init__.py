"""DeepReg beside the tools a user would take instead: same pairs, same threads, one scorer.

A file a tool (`greedy`, `ants`, `elastix`, `convexadam`, `fireants`, `deepreg`): a script for a process of its own that
imports nothing but its tool and `job`, so that any interpreter can run it.
"""
