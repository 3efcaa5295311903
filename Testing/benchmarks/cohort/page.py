"""How soon a browser shows the report of a large cohort."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from DeepRegLib.cohort.page import page_of
from DeepRegLib.cohort.table import DONE, FAILED, MISSING, WRONG, Line

ROWS, REPEATS, LIMIT = 2000, 3, 2.0
WIDTH, HEIGHT = 1280, 900
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "about:blank")
STARTED = "DevTools listening on "
PAINT = "JSON.stringify(Object.fromEntries(performance.getEntriesByType('paint').map((e) => [e.name, e.startTime])))"
SETTLE_SECONDS = 5.0


def rows(picture: Path) -> Iterator[dict[str, Any]]:
    """Measure the first paint; write what the browser shows then into a PNG file."""
    what = f"first paint of {ROWS} rows"
    if CHROMIUM is None:
        yield {"what": what, "came of it": "not tried: there is no Chromium", "right": None}
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder) / "cohort.html"
        page.write_text(page_of(list(_lines(Path(folder))), Path(folder), {"Where": "made rows"}), encoding="utf-8")
        seconds = sorted(_first_paint(page, Path(folder) / f"user {turn}", picture) for turn in range(REPEATS))
        size = page.stat().st_size / 1e6
    yield {"what": f"{what} ({size:.1f} MB), at most", "value": round(seconds[-1], 2), "unit": "s", "limit": LIMIT}
    yield {"what": f"{what}, at least", "value": round(seconds[0], 2), "unit": "s", "limit": None}


def _lines(folder: Path) -> Iterator[Line]:
    """Make rows of every kind; those that are done have a picture and a report."""
    from PIL import Image

    numbers = random.Random(0)
    small = folder / "thumbnail.jpg"
    Image.effect_noise((360, 152), 60).convert("RGB").save(small, quality=80)
    for row in range(2, ROWS + 2):
        name = f"sub-{row:04d}_from-ses2_to-ses1"
        status = numbers.choices((DONE, FAILED, WRONG, MISSING), (94, 3, 2, 1))[0]
        if status != DONE:
            yield Line(
                name, row, status, reasons=("The file of fixed, scan.nii.gz, does not exist.",) * (status == WRONG)
            )
            continue
        place = folder / "cases" / name
        place.mkdir(parents=True)
        for file in ("report.html", "viewer.html", "log.txt"):
            (place / file).touch()
        shutil.copyfile(small, place / "thumbnail.jpg")
        verdict = numbers.choices(("ok", "check", "failed"), (90, 8, 2))[0]
        reasons = () if verdict == "ok" else ("Tissue is folded in 12 voxels near the border of the scan.",)
        measures = {
            "dice_after_mean": min(1.0, numbers.gauss(0.85, 0.02 if verdict == "ok" else 0.15)),
            "tre_after": numbers.expovariate(0.7),
            "structure_after": numbers.gauss(0.9, 0.01),
            "folds": float(numbers.choice((0, 0, 0, 0, 12))),
            "log_jacobian_sd": numbers.gauss(0.12, 0.02),
            "inverse_error_p99": numbers.gauss(0.2, 0.03),
        }
        yield Line(
            *(name, row, DONE, verdict, reasons),
            measures=measures,
            seconds=numbers.gauss(20, 3),
            memory=round(numbers.gauss(2e9, 1e8)),
            device="cuda:0",
            host=f"node{row % 20:02d}",
            folder=f"cases/{name}",
            thumbnail=True,
        )


def _first_paint(page: Path, user: Path, picture: Path) -> float:
    """Open a page in a browser that has shown nothing yet; return the seconds until its first paint."""
    command = [str(CHROMIUM), *OPTIONS[:-1], f"--user-data-dir={user}", f"--window-size={WIDTH},{HEIGHT}", OPTIONS[-1]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as browser:
        try:
            assert browser.stderr is not None  # for mypy: a pipe was asked for
            address = next(line.partition(STARTED)[2].strip() for line in browser.stderr if STARTED in line)
            return asyncio.run(_watched(address, page.as_uri(), picture))
        finally:
            browser.kill()


async def _watched(address: str, page: str, picture: Path) -> float:
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect

    connection = await websocket_connect(HTTPRequest(address), max_message_size=1 << 28)
    number = 0

    async def ask(method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        table = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        await connection.write_message(json.dumps(table))
        while True:
            answer = json.loads(await connection.read_message() or "{}")
            if answer.get("id") == number:
                return dict(answer["result"])

    target = (await ask("Target.createTarget", url="about:blank"))["targetId"]
    session = (await ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    await ask("Emulation.setDeviceMetricsOverride", session, **size)
    await ask("Page.navigate", session, url=page)
    paint: dict[str, float] = {}
    while "first-contentful-paint" not in paint:
        await asyncio.sleep(0.2)
        paint = json.loads((await ask("Runtime.evaluate", session, expression=PAINT))["result"]["value"])
    await asyncio.sleep(SETTLE_SECONDS)
    picture.write_bytes(base64.b64decode((await ask("Page.captureScreenshot", session))["data"]))
    connection.close()
    return paint["first-contentful-paint"] / 1000
