"""Cards: the README of a repository on the Hub, with the facts that a reader asks for first."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no type information

from vand_demos.storage.reader import DemoDataset
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.interface import PolicySpec

TAGS = ("robotics", "imitation-learning", "vand-robot")


def model_card(
    repo: str, spec: PolicySpec, config: str, result: EvaluationResult | None, license_name: str
) -> str:
    """The card of a run.

    Args:
        repo: Name of the repository.
        spec: What the policy sees and answers.
        config: The run's configuration, YAML.
        result: Its evaluation; None where there is none.
        license_name: Identifier of the licence, as the Hub has them: `mit`.
    """
    meta: dict[str, Any] = {
        "library_name": "vand-robot",
        "pipeline_tag": "robotics",
        "license": license_name,
        "tags": list(TAGS),
    }
    if result is not None:
        meta["model-index"] = [{"name": _name(repo), "results": _index(result)}]
    return "\n".join(
        [
            _front_matter(meta),
            f"# {_plain(_name(repo))}",
            "",
            "A recurrent policy of vand-robot, trained by behavior cloning.",
            "",
            "```sh",
            f"vand-robot pull {repo} --out policy",
            "vand-robot replay policy --viewer web",
            "```",
            "",
            "## What it sees and answers",
            "",
            *_table(
                ("", ""),
                [
                    ("robot", spec.robot),
                    ("actions", f"{spec.action_size} numbers, mode {spec.action_mode}"),
                    ("rate", f"{1 / spec.control_dt_s:g} Hz"),
                    ("instructions", ", ".join(spec.instructions)),
                    ("observations", ", ".join(spec.observations)),
                    ("images", ", ".join(spec.images) or "none"),
                ],
            ),
            "",
            "## Success",
            "",
            *_success(result),
            "",
            "## Configuration",
            "",
            "```yaml",
            config.strip().replace("```", "'''"),
            "```",
            "",
        ]
    )


def data_card(repo: str, dataset: DemoDataset, license_name: str) -> str:
    """The card of a data set.

    Args:
        repo: Name of the repository.
        dataset: The data set.
        license_name: Identifier of the licence, as the Hub has them.
    """
    tasks: dict[str, list[int]] = {}
    for name in dataset.names:
        task = str(dataset.attribute(name, "task"))
        counts = tasks.setdefault(task, [0, 0, 0])
        counts[0] += 1
        counts[1] += dataset.attribute(name, "success") is True
        counts[2] += int(dataset.attribute(name, "num_samples"))
    meta = {
        "license": license_name,
        "task_categories": ["robotics"],
        "tags": [*TAGS, "hdf5"],
    }
    rows = [(task, str(n), str(done), str(steps)) for task, (n, done, steps) in tasks.items()]
    return "\n".join(
        [
            _front_matter(meta),
            f"# {_plain(_name(repo))}",
            "",
            "Demonstrations of vand-robot, in robomimic's HDF5 layout.",
            "",
            "```sh",
            f"vand-robot pull {repo} --data --out data",
            f"vand-robot demos info data/{_plain(dataset.path.name)}",
            "```",
            "",
            *_table(("task", "episodes", "known to have succeeded", "steps"), rows),
            "",
        ]
    )


def _name(repo: str) -> str:
    return repo.rpartition("/")[2]


def _front_matter(meta: Mapping[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(dict(meta), sort_keys=False)}---\n"


def _index(result: EvaluationResult) -> list[dict[str, Any]]:
    """The results as the Hub's `model-index` has them."""
    return [
        {
            "task": {"type": "robotics", "name": task},
            "dataset": {"type": "vand-robot", "name": f"held-out seeds, {name}"},
            "metrics": [{"type": "success_rate", "value": round(entry.success_rate, 4)}],
        }
        for task, of in result.tasks.items()
        for name, entry in of.perturbations.items()
    ]


def _success(result: EvaluationResult | None) -> list[str]:
    if result is None:
        return ["Not evaluated."]
    rows = []
    for task, of in result.tasks.items():
        for name, entry in of.perturbations.items():
            low, high = entry.success.interval
            interval = f"{100 * low:.0f} to {100 * high:.0f} %"
            rows.append((task, name, str(entry.success), interval))
    note = f"Suite version {result.suite_version}, episodes from seed {result.first_seed} on."
    return [*_table(("task", "perturbation", "success", "95 % interval"), rows), "", note]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(map(_plain, line)) + " |" for line in lines]


def _plain(text: str) -> str:
    """Text from outside on one line of Markdown, without what Markdown or HTML would obey."""
    line = " ".join(text.split())
    escaped = line.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return escaped.replace("[", "\\[").replace("`", "'")
