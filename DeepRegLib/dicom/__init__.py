"""DICOM: series of slices and multi-frame files read as volumes, each frame where its header puts it."""
