import base64
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from vand_robot.figures import success_chart
from vand_robot.metrics.statistics import wilson_interval
from vand_robot.report import Picture, report_html, write_report

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


def entry(successes, episodes, **fields):
    return {
        "horizon_s": 40.0,
        "episodes": episodes,
        "successes": successes,
        "success_rate": successes / episodes,
        "wilson_95": list(wilson_interval(successes, episodes)),
        "metrics": {},
        "worst": [],
        **fields,
    }


def task(perturbations, **fields):
    told = {"instruction": "put the cube in the bin", "kind": "sequential", "count": None}
    return {**told, "perturbations": perturbations, **fields}


@pytest.fixture
def results():
    nominal = entry(
        33,
        50,
        stages=[{"name": "grasp", "completed": 45, "share": 0.9}],
        shares={"count_right": entry(40, 50), "success_once": entry(33, 50)},
        metrics={
            "time_s": {"median": 24.61, "iqr": [22.1, 27.9], "n": 33},
            "made_up": {"median": 12345.6, "iqr": [0.0, 1e-5], "n": 33},
            "floquet_multiplier": {"median": None, "iqr": [None, None], "n": 0},
        },
        worst=[{"seed": 1007, "share": 0.25, "shown": "wipe", "failures": ""}],
    )
    return {
        "suite": "robustness",
        "suite_version": "2",
        "first_seed": 1000,
        "policy": {
            "run": "first",
            "path": "runs/first",
            "checkpoint_update": 400,
            "config": {"policy": {"core": {"hidden_size": 64}}, "tasks": ["stow-cube"]},
            "versions": {"torch": "2.13"},
        },
        "perturbations": {
            "nominal": {"about": "nothing else"},
            "push": {"about": "impulses", "hand_impulse_ns": 4.0, "first_s": [3.0, 6.0]},
        },
        "tasks": {
            "stow-cube": task(
                {"nominal": nominal, "push": entry(7, 50, shares={"count_right": entry(9, 50)})},
                count=3,
            ),
            "wipe": task(
                {"nominal": entry(0, 50)}, kind="periodic", instruction="wipe the board in circles"
            ),
        },
        "confusion": {},
    }


def test_report_is_well_formed_and_says_what_happened(results):
    page = parse(report_html(results, title="Evaluation"))
    text = " ".join(page.text)
    for said in (
        "33 of 100 episodes succeeded under nominal perturbations",
        "33/50",
        "52 to 78 %",
        "7/50",
        "0/50",
        "mean over tasks",
        "“wipe the board in circles”",
        "counts to 3",
        "grasp",
        "45/50",
        "count right",
        "40/50",
        "time to success",
        "24.6",
        "22.1 to 27.9",
        "made up",
        "12,346",
        "0 to 1.0e-05",
        "not known",
        "hand_impulse_ns 4, first_s 3 to 6",
        "when the task was first done",
        "policy.core.hidden_size",
        "2.13",
        "from 1000 on",
    ):
        assert said in text, said


def test_report_says_how_to_watch_the_worst_episodes(results):
    text = " ".join(parse(report_html(results)).text)
    command = "vand-robot replay runs/first --task stow-cube --perturbation nominal --index 7"
    assert command in text
    assert "25 %" in text
    results["policy"]["expert"] = True
    assert "replay runs/first --expert --task" in report_html(results)


def test_report_escapes_whatever_it_shows(results):
    evil = json.loads(json.dumps(results))
    evil["policy"] = {"run": EVIL, EVIL: EVIL, "config": {EVIL: EVIL}, "versions": {EVIL: EVIL}}
    evil["perturbations"] = {EVIL: {"about": EVIL, EVIL: EVIL}}
    shown = {
        "stages": [{"name": EVIL, "completed": 1, "share": 0.02}],
        "metrics": {EVIL: {"median": 1.0, "iqr": [1.0, 1.0]}},
        "worst": [{"seed": 1001, "share": 0.0, "shown": EVIL, "failures": EVIL}],
        "after": EVIL,
    }
    evil["tasks"] = {EVIL: task({EVIL: entry(1, 50, **shown)}, instruction=EVIL, kind=EVIL)}
    figure = Picture(EVIL, EVIL, success_chart(results), perturbation=EVIL)
    page = parse(report_html(evil, [figure], links={EVIL: "a'b\"c.html"}, title=EVIL))
    assert "script" not in page.tags
    assert ("href", "a'b\"c.html") in page.attributes
    assert "".join(page.text).count("alert('&')") >= 16


def test_report_embeds_its_figures_and_refers_to_nothing_outside(results):
    figure = success_chart(results)
    pictures = [
        Picture("success", "Success <by> task", figure),
        Picture("stages", "Stages", figure, task="stow-cube"),
        Picture("confusion", "Confusion", figure, perturbation="nominal"),
    ]
    page = report_html(results, pictures)
    assert "Success &lt;by&gt; task" in page
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 3
    assert Image.open(io.BytesIO(base64.b64decode(images[0]))).width > 600
    assert not re.search(r"https?:|url\(|@import|<link|<script", page)


def test_report_links_to_files_beside_it_alone(results):
    page = report_html(results, links={"Replay": "replay.html"})
    assert '<a href="replay.html">Replay</a>' in page
    for address in ("javascript:alert(1)", "https://example.org", "/etc/passwd"):
        with pytest.raises(ValueError, match="beside it"):
            report_html(results, links={"Replay": address})


def test_report_is_written_whole(tmp_path, results):
    path = tmp_path / "report.html"
    write_report(path, results)
    parse(path.read_text("utf-8"))
    assert list(tmp_path.iterdir()) == [path]
