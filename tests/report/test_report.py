import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tests.helpers.results import evaluation_result, perturbation_result, task_result
from vand_envs.seeds import TEST_SEED, VALIDATION_SEED
from vand_robot.evaluation.results import (
    FOREIGN,
    MetricSpread,
    PolicyFacts,
    StageRate,
    WorstEpisode,
)
from vand_robot.figures import success_chart
from vand_robot.metrics.evaluation_metrics import FAILURES
from vand_robot.metrics.periodic import score_periodic
from vand_robot.metrics.reference_cycle import ReferenceCycle
from vand_robot.metrics.statistics import SuccessRate
from vand_robot.report import Picture, report_html, write_report
from vand_robot.report.evaluation import failure_text, headline

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


WORST = perturbation_result(0, 5, worst=(WorstEpisode(TEST_SEED, 0.5, (), ()),))


@pytest.fixture
def result():
    nominal = perturbation_result(
        33,
        50,
        stages=(StageRate("reach", 48, 0.96), StageRate("grasp", 45, 0.9)),
        shares={
            "count_right": SuccessRate.of_counts(40, 50),
            "success_once": SuccessRate.of_counts(33, 50),
        },
        metrics={
            "time_s": MetricSpread(24.61, (22.1, 27.9), 33),
            "made_up": MetricSpread(12345.6, (0.0, 1e-5), 33),
            "floquet_multiplier": MetricSpread(None, None, 0),
        },
        worst=(WorstEpisode(TEST_SEED + 7, 0.5, ("wipe",), ()),),
    )
    pushed = perturbation_result(7, 50, shares={"count_right": SuccessRate.of_counts(9, 50)})
    failures = ("onset", "frequency", "valid")
    still = perturbation_result(0, 50, worst=(WorstEpisode(TEST_SEED + 3, 0.0, (), failures),))
    told = {"kind": "periodic", "instruction": "wipe the board in circles"}
    return evaluation_result(
        {
            "stow-cube": task_result({"nominal": nominal, "push": pushed}, count=3),
            "wipe": task_result({"nominal": still}, **told),
        },
        first_seed=TEST_SEED,
        policy=PolicyFacts(
            run="first",
            path="runs/first",
            checkpoint_update=400,
            config={"policy": {"core": {"hidden_size": 64}}, "tasks": ["stow-cube"]},
            versions={"torch": "2.13"},
        ),
        perturbations={
            "nominal": {"about": "nothing else"},
            "push": {"about": "impulses", "hand_impulse_ns": 4.0, "first_s": [3.0, 6.0]},
        },
    )


def chart(result):
    return success_chart(list(result.tasks), result.success_rates())


def test_report_is_well_formed_and_says_what_happened(result):
    page = parse(report_html(result, title="Evaluation"))
    text = " ".join(page.text)
    for said in (
        "33 of 100 episodes succeeded without perturbation",
        "from 0/50 in wipe to 33/50 in stow-cube.",
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
        f"from {TEST_SEED} on",
    ):
        assert said in text, said


def test_headline_tells_one_task_with_its_interval(result):
    alone = dataclasses.replace(result, tasks={"wipe": result.tasks["wipe"]})
    assert headline(alone) == (
        "0 of 50 episodes succeeded without perturbation: 0 %, 95 % interval 0 to 7 %."
    )


def test_headline_names_the_perturbation_that_costs_most(result):
    text = headline(result)
    assert text.endswith("Of the perturbations push costs most: 52 points of success.")


def test_headline_of_equal_tasks_and_of_one_episode():
    tasks = {name: task_result({"push": perturbation_result(1, 1)}) for name in ("a", "b")}
    text = headline(evaluation_result(tasks))
    assert text == "2 of 2 episodes succeeded under perturbation push, in every task 100 %."
    assert "1 of 1 episode succeeded" in headline(evaluation_result({"a": tasks["a"]}))


def test_report_says_how_to_watch_the_worst_episodes(result):
    text = " ".join(parse(report_html(result)).text)
    command = "vand-robot replay runs/first --task stow-cube --perturbation nominal --index 7"
    assert f"{command} --out nominal-stow-cube-7.html" in text
    assert "--index 3 --out nominal-wipe-3.html" in text
    assert "50 %" in text
    expert = PolicyFacts("first", path="my runs/first", expert=True)
    page = parse(report_html(dataclasses.replace(result, policy=expert)))
    assert "replay 'my runs/first' --expert --task" in " ".join(page.text)


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": PolicyFacts("first", path="policy.onnx")},  # also a server, a policy of others
        {"policy": PolicyFacts("first")},
        {"first_seed": VALIDATION_SEED},
        {"tasks": {"CartPole": task_result({"nominal": WORST}, kind=FOREIGN)}},
    ],
)
def test_a_report_names_no_command_that_cannot_show_the_episode(result, changes):
    text = " ".join(parse(report_html(dataclasses.replace(result, **changes))).text)
    assert "What went wrong" in text
    assert "Watch it" not in text
    assert "vand-robot replay" not in text


def test_report_says_why_episodes_failed_in_plain_words(result):
    text = " ".join(parse(report_html(result)).text)
    assert "did wipe instead, stopped before: grasp" in text
    assert "did not begin in time, wrong frequency, too little contact" in text
    complete = WorstEpisode(1, 1.0, (), ())
    assert failure_text(complete, ["a"]) == "completed all stages, but not the goal at the end"
    criteria = score_periodic(np.zeros((3, 2)), 0.1, CIRCLE).failures
    assert len(criteria) > 3
    assert set(criteria) <= set(FAILURES)


CIRCLE = ReferenceCycle(0.5, 0.1, np.zeros(2), np.ones((64, 2)), 1, 2.0)


def test_every_link_of_the_contents_leads_somewhere(result):
    page = parse(report_html(result, links={"Replay": "replay.html"}))
    anchors = [value for key, value in page.attributes if key == "href" and value[0] == "#"]
    places = [value for key, value in page.attributes if key == "id"]
    assert len(places) == len(set(places))
    assert {"#success", "#watch", "#task-wipe", "#worst", "#definitions"} <= set(anchors)
    assert {anchor[1:] for anchor in anchors} <= set(places)


def test_a_replay_of_a_worst_episode_is_linked_in_its_row(result):
    replays = {("nominal", "wipe", TEST_SEED + 3): "replay-nominal-wipe-3.html"}
    text = report_html(result, replays=replays)
    assert text.count('href="replay-nominal-wipe-3.html"') == 2
    assert "wipe, nominal, episode 3" in text
    assert "--out nominal-wipe-3.html" not in text


def test_headline_metrics_are_open_and_the_others_folded(result):
    page = report_html(result)
    shown, _, folded = page.partition('<details class="more">')
    assert "time to success" in shown
    assert "made up" not in shown
    assert "2 more metrics" in folded
    assert "made up" in folded


def test_report_is_dark_where_the_reader_wants_it(result):
    assert "prefers-color-scheme: dark" in report_html(result)


def test_report_escapes_whatever_it_shows(result):
    figure = Picture(EVIL, EVIL, chart(result), perturbation=EVIL)
    shown = {
        "stages": (StageRate(EVIL, 1, 0.02),),
        "metrics": {EVIL: MetricSpread(1.0, (1.0, 1.0), 1)},
        "worst": (WorstEpisode(1001, 0.0, (EVIL,), (EVIL,)),),
        "after": EVIL,
    }
    evil = evaluation_result(
        {
            EVIL: task_result(
                {EVIL: perturbation_result(1, 50, **shown)}, instruction=EVIL, kind=EVIL
            )
        },
        policy=PolicyFacts(EVIL, path=EVIL, config={EVIL: EVIL}, versions={EVIL: EVIL}),
        perturbations={EVIL: {"about": EVIL, EVIL: EVIL}},
        suite=EVIL,
        suite_version=EVIL,
    )
    page = parse(report_html(evil, [figure], links={EVIL: "a'b\"c.html"}, title=EVIL))
    assert "script" not in page.tags
    assert ("href", "a'b\"c.html") in page.attributes
    assert "".join(page.text).count("alert('&')") >= 16


def test_report_embeds_its_figures_and_refers_to_nothing_outside(result):
    figure = chart(result)
    pictures = [
        Picture("success", "Success <by> task", figure),
        Picture("stages", "Stages", figure, task="stow-cube"),
        Picture("confusion", "Confusion", figure, perturbation="nominal"),
    ]
    page = report_html(result, pictures)
    assert "Success &lt;by&gt; task" in page
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 3
    assert Image.open(io.BytesIO(base64.b64decode(images[0]))).width > 600
    assert not re.search(r"https?:|url\(|@import|<link|<script", page)


def test_report_links_to_files_beside_it_alone(result):
    page = report_html(result, links={"Replay": "replay.html"})
    assert '<a href="replay.html">Replay</a>' in page
    for address in ("javascript:alert(1)", "https://example.org", "/etc/passwd"):
        with pytest.raises(ValueError, match="beside it"):
            report_html(result, links={"Replay": address})


def test_report_is_written_whole(tmp_path, result):
    path = tmp_path / "report.html"
    write_report(path, result)
    parse(path.read_text("utf-8"))
    assert list(tmp_path.iterdir()) == [path]
