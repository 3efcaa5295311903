"""The version of this library: written here, because Slicer installs files without the metadata of a distribution."""

VERSION = "0.1.0"
