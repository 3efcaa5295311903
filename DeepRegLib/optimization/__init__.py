"""Finding transforms: global search, linear, deformable; keeping fields regular."""
