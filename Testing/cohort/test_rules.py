"""Cases by patterns over folders, and out of BIDS data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from DeepRegLib.cohort.bids import cases_in_bids, description
from DeepRegLib.cohort.rules import cases_by_rule
from DeepRegLib.errors import InputError


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_pairs_are_made_by_what_the_stars_in_the_folders_stand_for(tmp_path: Path) -> None:
    make(tmp_path, "a/1/scan.nii", "a/2/other.nii", "b/1/scan.nii", "c/1/x.nii", "c/2/y.nii", "c/2/z.nii")
    manifest = cases_by_rule("register", ["*/1/*.nii", "*/2/*.nii"], tmp_path, {"recipe": "fast"})
    (case,) = manifest.cases
    assert (case.name, case.values["recipe"]) == ("a", "fast")
    assert case.values["moving"] == str(tmp_path / "a/2/other.nii")
    assert ["no file" in p.message or "several" in p.message for p in manifest.problems] == [True, True]


def test_without_folders_the_stars_in_the_names_make_the_pairs(tmp_path: Path) -> None:
    make(tmp_path, "p1_fixed.nii", "p1_moving.nii", "p2_fixed.nii", "p2_moving.nii")
    manifest = cases_by_rule("register", ["*_fixed.nii", "*_moving.nii"], tmp_path, {})
    assert [case.name for case in manifest.cases] == ["p1", "p2"]


@pytest.mark.parametrize("pattern", ["/etc/*.nii", "../*.nii", "none*.nii"])
def test_a_pattern_that_leaves_its_folder_or_fits_nothing_is_refused(tmp_path: Path, pattern: str) -> None:
    make(tmp_path, "a.nii")
    with pytest.raises(InputError):
        cases_by_rule("segment", [pattern], tmp_path, {})


def bids(root: Path, *names: str) -> Path:
    make(root, "dataset_description.json", *names)
    return root


def test_sessions_of_a_subject_are_paired_and_named_as_fmriprep_names_them(tmp_path: Path) -> None:
    root = bids(
        tmp_path,
        "sub-01/ses-1/anat/sub-01_ses-1_acq-hi_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_acq-hi_T1w.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz",
    )
    manifest = cases_in_bids(root, "ses-1", "ses-2", {})
    (case,) = manifest.cases
    assert case.bids["transform.h5"] == "sub-01/anat/sub-01_acq-hi_from-ses2_to-ses1_mode-image_xfm.h5"
    assert case.bids["inverse.h5"] == "sub-01/anat/sub-01_acq-hi_from-ses1_to-ses2_mode-image_xfm.h5"
    assert case.bids["warped.nii.gz"] == "sub-01/anat/sub-01_ses-2_acq-hi_space-ses1_T1w.nii.gz"
    assert "no partner" in manifest.problems[0].message


def test_two_contrasts_of_one_session_are_a_pair(tmp_path: Path) -> None:
    root = bids(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
    (case,) = cases_in_bids(root, "T1w", "T2w", {}).cases
    assert case.bids["transform.h5"] == "sub-01/anat/sub-01_from-T2w_to-T1w_mode-image_xfm.h5"


def test_what_is_no_data_set_or_no_selection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset_description"):
        cases_in_bids(tmp_path, "ses-1", "ses-2", {})
    root = bids(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    for fixed, words in (("ses-9", "named with"), ("../x", "picks no images")):
        with pytest.raises(InputError, match=words):
            cases_in_bids(root, fixed, "T1w", {})
    assert description(str(root), "1.0")["DatasetType"] == "derivative"
