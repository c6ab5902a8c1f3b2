"""`KEY=VALUE` words: what they become, and that what cannot be meant is one line."""

import re

import pytest

from vand_robot.cli.main import main
from vand_robot.runtime import PolicyUsageError, make_driver
from vand_robot.runtime.words import MAX_DEPTH, MAX_DIGITS, keyword_arguments


def test_values_are_json_or_else_text():
    words = ["a=3", "b=-0.5", "c=[1, null]", 'd={"x": true}', 'e="3"', "f=left", "g=", "h=x=y"]
    words += ["seed={seed}", "name=[left", "ids=10 NaN", "i=1e999 m", "a=4"]
    assert keyword_arguments("--env-arg", words) == {
        "a": 4,
        "b": -0.5,
        "c": [1, None],
        "d": {"x": True},
        "e": "3",
        "f": "left",
        "g": "",
        "h": "x=y",
        "seed": "{seed}",
        "name": "[left",
        "ids": "10 NaN",
        "i": "1e999 m",
    }


def test_the_bounds_are_where_they_are_said_to_be():
    deep, long = "[" * MAX_DEPTH + "]" * MAX_DEPTH, "9" * MAX_DIGITS
    taken = keyword_arguments("--x", [f"deep={deep}", f"long=-{long}"])
    assert str(taken["deep"]) == deep
    assert taken["long"] == -int(long)
    for word in (f"deep=[{deep}]", f"long=-{long}9"):
        with pytest.raises(PolicyUsageError):
            keyword_arguments("--x", [word])


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("seed", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("a.b=3", "expected KEY=VALUE"),
        ("\udcff=3", "expected KEY=VALUE"),
        ("k=" + "[" * 100_000, "at most 50 lists inside each other"),
        ("k=" + '{"a":' * 100_000, "at most 50 lists inside each other"),
        ("k=" + "[" * 60 + "]" * 60, "at most 50 lists inside each other"),
        ("k=NaN", "finite numbers of at most 20 digits"),
        ("k=[1, -Infinity]", "finite numbers of at most 20 digits"),
        ('k={"a": 1e999}', "finite numbers of at most 20 digits"),
        ("k=" + "9" * 5000, "finite numbers of at most 20 digits"),
        ("k=-" + "9" * 21, "finite numbers of at most 20 digits"),
        ("k=\udcff", "text that is UTF-8"),
        (r'k="\ud800"', "text that is UTF-8"),
        (r'k={"\udfff": 1}', "text that is UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_one_short_line(word: str, expected: str):
    with pytest.raises(PolicyUsageError, match=re.escape(expected)) as caught:
        keyword_arguments("--env-arg", [word])
    line = str(caught.value)
    assert line.startswith("--env-arg: ")
    assert len(line.splitlines()) == 1
    assert len(line) < 200
    line.encode()  # no lone surrogate is left in it


def test_drivers_and_environments_read_their_words_by_it(capsys, tmp_path):
    deep = "k=" + "[" * 100_000
    with pytest.raises(PolicyUsageError, match="driver argument: k: expected at most"):
        make_driver("simulation", [deep])
    record = ["record", "--env", "x", "--policy", "a:b", "--out", str(tmp_path / "x.hdf5")]
    with pytest.raises(SystemExit) as ended:
        main([*record, "--env-arg", deep])
    assert ended.value.code == 2
    assert "error: --env-arg: k: expected at most" in capsys.readouterr().err
