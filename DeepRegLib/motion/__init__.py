"""Motion over time as a few numbers: its principal components, their scores, and where they will be."""
