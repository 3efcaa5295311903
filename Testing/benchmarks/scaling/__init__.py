"""How the default registration's time and memory grow with voxels and fall with cores, beside what memory allows."""
