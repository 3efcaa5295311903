"""The interactive report: one offline page of limited size, whose volumes lie where the scans lie."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jinja2")

from DeepRegLib import viewer
from DeepRegLib.errors import DeepRegError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image
from DeepRegLib.viewer import niivue, page
from DeepRegLib.viewer.volumes import greys, label_numbers, labels, millimetres, shrunk
from Testing.small import small_pair, small_registration

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
needs_niivue = pytest.mark.skipif(not viewer.viewer_is_installed(), reason="ipyniivue is not installed")


def shown() -> viewer.Shown:
    """Return a small result with labels and a trust map."""
    result, (*_, moving_labels) = small_registration(), small_pair()
    return viewer.shown_of(result.with_labels(moving_labels))


def test_volumes_lie_where_the_scan_lies_and_keep_their_values(tmp_path: Path) -> None:
    scan = small_pair()[1]  # oblique
    (tmp_path / "scan.nii.gz").write_bytes(greys(scan, scan.geometry))
    back = read_image(tmp_path / "scan.nii.gz")
    assert back.geometry.is_close(scan.geometry, 1e-3)
    assert np.corrcoef(back.array.ravel(), scan.array.ravel())[0, 1] > 0.99
    numbers = scan.with_array(np.where(scan.array > scan.array.mean(), 4003, 0).astype(np.int32))
    (tmp_path / "labels.nii.gz").write_bytes(labels(numbers, scan.geometry))
    assert label_numbers(numbers).tolist() == [4003]
    np.testing.assert_array_equal(read_image(tmp_path / "labels.nii.gz").array == 1, numbers.array > 0)
    ramp = Image(np.tile(np.linspace(0, 4, 9, dtype=np.float32), (3, 3, 1)), Geometry((9, 3, 3)))
    (tmp_path / "trust.nii.gz").write_bytes(millimetres(ramp, ramp.geometry, 4.0))
    np.testing.assert_allclose(read_image(tmp_path / "trust.nii.gz").array, ramp.array, atol=0.01)


def test_a_large_volume_gets_coarser_over_the_same_box_and_thick_slices_stay() -> None:
    grid = Geometry((200, 200, 10), (1.0, 1.0, 8.0))
    small = shrunk(grid, 50_000)
    assert np.prod(small.size) < 60_000
    assert small.spacing[2] == pytest.approx(8.0)
    np.testing.assert_allclose(small.centre, grid.centre)
    assert shrunk(grid, 400_000) is grid


def test_the_page_may_load_nothing_and_names_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "niivue_script", lambda: "AAAA")
    text = viewer.render_viewer(shown())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy.group(1).startswith("default-src 'none'")
    assert "connect-src 'none'" in policy.group(1)
    assert not re.search(r"(src|href)=|https?:", text)
    for title in ("Moving, as it lay", "Moving, registered", "Carried labels", "Expected error"):
        assert title in text


def test_a_page_that_would_be_too_large_gets_coarser_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "niivue_script", lambda: "AAAA")
    whole = len(viewer.render_viewer(shown()))
    monkeypatch.setattr(page, "VOXELS", 20_000)
    monkeypatch.setattr(page, "LARGEST_PAGE", int(0.8 * whole))
    assert len(viewer.render_viewer(shown()).encode()) <= 0.8 * whole


def test_the_viewer_is_found_in_the_widget_of_a_notebook() -> None:
    module = (
        'console.log("Creating new Niivue instance");let B=A.get("o")??{},C=f(B);v=new t2(C)};export{Ih as default};\n'
    )
    assert niivue.exporting_viewer(module).endswith("export{t2 as Niivue};\n")
    with pytest.raises(DeepRegError, match="built in another way"):
        niivue.exporting_viewer("export{a as default};")


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(niivue, "_script_path", lambda: None)
    niivue.niivue_script.cache_clear()
    with pytest.raises(DeepRegError, match="ipyniivue"):
        viewer.render_viewer(shown())


@needs_niivue
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_shows_all_volumes_without_network(tmp_path: Path) -> None:
    niivue.niivue_script.cache_clear()
    path = tmp_path / "viewer.html"
    viewer.write_viewer(shown(), path)
    assert path.stat().st_size <= viewer.LARGEST_PAGE
    # A name that cannot be resolved ends every request, were there one.
    command = [str(CHROMIUM), *OPTIONS, "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'user'}"]
    command += ["--virtual-time-budget=30000", "--dump-dom", path.as_uri()]
    text = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode()
    assert 'data-ready="5"' in text, re.search(r'id="said"[^<]*', text)
