"""Many cases: a table of them, run side by side on one machine or a cluster, ended in one table and one report."""
