"""The report in a real browser, without a network: no errors on the console, and nothing wider than a phone.

``make check-report`` runs it; it needs Chromium.
"""

import os
import re
import shutil
import subprocess
from contextlib import closing
from datetime import UTC, datetime

import pytest
from made_fleet import DAY, HOUR, NOON, Fleet

from fedtiny.ledger import Ledger
from fedtiny.report import Span, gather, render_report

FRAME = """<!doctype html><body style="margin:0"><iframe src="report.html" width="360" height="4000"
onload="const page = contentDocument.documentElement, beyond = page.scrollWidth - page.clientWidth;
document.title = beyond + ' beyond, ' + page.querySelectorAll('figure').length;
console.log('the frame is here')"></iframe>"""


@pytest.fixture
def chromium(tmp_path):
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("Chromium is not installed: sudo apt install chromium")

    def run(page, *arguments):
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        options += ["--enable-logging=stderr", "--allow-file-access-from-files", "--proxy-server=127.0.0.1:9"]
        done = subprocess.run(
            [found, *options, *arguments, f"file://{tmp_path / page}"],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)

    return run


def test_a_browser_shows_the_report_on_a_phone_and_on_paper_without_complaint(tmp_path, chromium):
    with closing(Ledger(tmp_path / "state")) as ledger:
        fleet = Fleet(ledger)
        fleet.publish()
        names = ["pump-with-a-very-long-name-indeed-that-goes-on-and-on", *(f"pump-{n:02d}" for n in range(40))]
        fleet.scores(names)
        fleet.alarm(names[0], 1, "raised", ago=3 * HOUR, reason="a-reason-without-a-space" * 12)
        for number in range(1, 9):
            fleet.round(number, names[number:], ago=(10 - number) * HOUR)
        fleet.status(*names, revision=8)
        now = datetime.fromtimestamp(NOON, UTC)
        report = render_report(gather(ledger, Span.parse(f"{DAY // HOUR}h", None, now), now))
    (tmp_path / "report.html").write_text(report)
    (tmp_path / "frame.html").write_text(FRAME)
    dom, said = chromium("frame.html", "--dump-dom", "--window-size=800,4000")
    assert f"<title>0 beyond, {24 + 3}</title>" in dom
    assert len(said) == 1, said  # the frame's own word, which shows that the console is heard
    _, said = chromium("report.html", f"--print-to-pdf={tmp_path / 'report.pdf'}")
    assert said == []
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
