"""Pairs of scans to try the module on, offered by Slicer's Sample Data module.

They are Slicer's own samples, put together as pairs: the same files, names and checksums, so a sample that was fetched
before is not fetched again, and Slicer's thumbnails, which it finds by the node's name, appear here too.
"""

from __future__ import annotations

from dataclasses import dataclass

CATEGORY = "DeepReg"
STORE = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"


@dataclass(frozen=True)
class SampleFile:
    """A scan to download.

    Parameters
    ----------
    file_name
        Its name in Slicer's cache.
    node_name
        Its name in the scene.
    sha256
        What it must be, in hexadecimal digits; also its place in the store.
    """

    file_name: str
    node_name: str
    sha256: str


@dataclass(frozen=True)
class SamplePair:
    """Two scans of one person.

    Parameters
    ----------
    name
        What the button says and `SampleData.downloadSamples` takes; not translated, so that scripts work anywhere.
    fixed, moving
        The scans.
    """

    name: str
    fixed: SampleFile
    moving: SampleFile


PAIRS = (
    SamplePair(
        "Brain MR at two visits",
        SampleFile(
            "RegLib_C01_1.nrrd", "MRBrainTumor1", "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95"
        ),
        SampleFile(
            "RegLib_C01_2.nrrd", "MRBrainTumor2", "1a64f3f422eb3d1c9b093d1a18da354b13bcf307907c66317e2463ee530b7a97"
        ),
    ),
    SamplePair(
        "Brain CT and MR",
        SampleFile("CT-brain.nrrd", "CTBrain", "6a5b6caccb76576a863beb095e3bfb910c50ca78f4c9bf043aa42f976cfa53d1"),
        SampleFile("MR-brain-T1.nrrd", "MRBrainT1", "2da3f655ed20356ee8cdf32aa0f8f9420385de4b6e407d28e67f9974d7ce1593"),
    ),
)


def register_sample_data() -> None:
    """Offer the pairs in Slicer's Sample Data module; nothing is fetched before the user asks for one."""
    from SampleData import SampleDataLogic

    for pair in PAIRS:
        files = (pair.fixed, pair.moving)
        SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=pair.name,
            uris=[STORE + file.sha256 for file in files],
            fileNames=[file.file_name for file in files],
            nodeNames=[file.node_name for file in files],
            checksums=[f"SHA256:{file.sha256}" for file in files],
        )
