import base64
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from vand_robot.figures import success_chart
from vand_robot.metrics.statistics import wilson_interval
from vand_robot.report import report_html, write_report

VOID = {"meta", "img", "link", "br", "input"}
EVIL = "<script>alert('&')</script>\"'"


class Checker(HTMLParser):
    """Follows the tags of a page: which are open, which attributes were seen."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def parse(page):
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def task(successes, episodes, **fields):
    return {
        "instruction": "put the cube in the bin",
        "kind": "sequential",
        "episodes": episodes,
        "horizon_s": 40.0,
        "successes": successes,
        "success_rate": successes / episodes,
        "wilson_95": list(wilson_interval(successes, episodes)),
        "stages": [],
        "metrics": {},
        **fields,
    }


@pytest.fixture
def results():
    return {
        "suite_version": "1",
        "policy": {
            "run": "first",
            "checkpoint_update": 400,
            "config": {"policy": {"core": {"hidden_size": 64}}, "tasks": ["stow-cube"]},
            "versions": {"torch": "2.13"},
        },
        "conditions": {"nominal": {"first_seed": 1000}},
        "tasks": {
            "stow-cube": task(
                33,
                50,
                stages=[{"name": "grasp", "completed": 45, "share": 0.9}],
                metrics={
                    "time_s": {"median": 24.61, "iqr": [22.1, 27.9], "n": 33},
                    "made_up": {"median": 12345.6, "iqr": [0.0, 1e-5], "n": 33},
                    "floquet_multiplier": {"median": None, "iqr": [None, None], "n": 0},
                },
            ),
            "wipe": task(0, 50, kind="periodic", instruction="wipe the board in circles"),
        },
    }


def test_report_is_well_formed_and_says_what_happened(results):
    page = parse(report_html(results, title="Evaluation"))
    text = " ".join(page.text)
    for said in (
        "33 of 100 episodes succeeded",
        "33/50",
        "52% to 78%",
        "0/50",
        "“wipe the board in circles”",
        "grasp",
        "45/50",
        "time to success",
        "24.6 s",
        "22.1 to 27.9 s",
        "made up",
        "12,346",
        "0 to 1.0e-05",
        "not known",
        "policy.core.hidden_size",
        "2.13",
        "first_seed 1000",
    ):
        assert said in text, said


def test_report_escapes_whatever_it_shows(results):
    evil = json.loads(json.dumps(results))
    evil["policy"] = {"run": EVIL, EVIL: EVIL, "config": {EVIL: EVIL}, "versions": {EVIL: EVIL}}
    evil["conditions"] = {EVIL: {EVIL: EVIL}}
    stages = [{"name": EVIL, "completed": 1, "share": 0.02}]
    metrics = {EVIL: {"median": 1.0, "iqr": [1.0, 1.0]}}
    evil["tasks"] = {EVIL: task(1, 50, instruction=EVIL, kind=EVIL, stages=stages, metrics=metrics)}
    page = parse(report_html(evil, links={EVIL: "a'b\"c.html"}, title=EVIL))
    assert "script" not in page.tags
    assert ("href", "a'b\"c.html") in page.attributes
    assert "".join(page.text).count("alert('&')") >= 12


def test_report_embeds_its_figures_and_refers_to_nothing_outside(results):
    page = report_html(results, [("Success <by> task", success_chart(results))])
    assert "Success &lt;by&gt; task" in page
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 1
    assert Image.open(io.BytesIO(base64.b64decode(images[0]))).width > 600
    assert not re.search(r"https?:|url\(|@import|<link|<script", page)


def test_report_links_to_files_beside_it_alone(results):
    page = report_html(results, links={"Replay": "replay.html"})
    assert '<a href="replay.html">Replay</a>' in page
    for address in ("javascript:alert(1)", "https://example.org", "/etc/passwd"):
        with pytest.raises(ValueError, match="beside it"):
            report_html(results, links={"Replay": address})


def test_report_of_the_least_that_results_hold_is_written(tmp_path):
    path = tmp_path / "report.html"
    bare = {"tasks": {"wipe": task(3, 4)}}
    del bare["tasks"]["wipe"]["horizon_s"]
    write_report(path, bare)
    parse(path.read_text("utf-8"))
    assert list(tmp_path.iterdir()) == [path]
