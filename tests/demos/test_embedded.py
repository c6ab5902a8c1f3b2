from dataclasses import replace

import pytest

from tests.helpers.episodes import episode
from vand_demos.embedded import MAX_TEXT_BYTES, load_model, require_harmless, world_of
from vand_envs import make_world
from vand_envs.errors import VandError
from vand_envs.robots.bounds import MOST


def world(inside="", before=""):
    return f"{before}<mujoco>{inside}<worldbody><geom size='1'/></worldbody></mujoco>"


def test_our_own_world_passes_and_compiles_once():
    text = make_world().xml
    model = load_model(text)
    assert model.nq == make_world().model.nq
    assert load_model(text) is model


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (world("<include file='/etc/passwd'/>"), "<include> is refused"),
        (world("<asset><mesh name='m' file='/etc/passwd'/></asset>"), "<mesh file=...> is refused"),
        (world("<asset><texture type='cube' fileup='a.png'/></asset>"), "<texture fileup=...>"),
        (world("<asset><hfield name='h' file='h.png' size='1 1 1 1'/></asset>"), "<hfield file"),
        (world("<asset><model name='m' file='other.xml'/></asset>"), "<model> is refused"),
        (world("<extension><plugin plugin='mujoco.sdf.torus'/></extension>"), "<extension>"),
        (world("<sensor><plugin plugin='mujoco.sensor.touch_grid'/></sensor>"), "<plugin>"),
        (world("<worldbody><replicate count='1000000'/></worldbody>"), "<replicate>"),
        (world("<worldbody><flexcomp count='900 900 900'/></worldbody>"), "<flexcomp>"),
        (world(before="<!DOCTYPE m [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"), "<!DOCTYPE>"),
        (world().replace("</mujoco>", ""), "expected MJCF"),
        ("no model", "expected MJCF"),
        ("", "expected MJCF"),
        (world("<option gravty='0 0 0'/>"), "does not compile"),
        (world(f"<!-- {'x' * MAX_TEXT_BYTES} -->"), "expected at most"),
    ],
)
def test_a_model_that_may_do_harm_is_refused(text, words):
    with pytest.raises(VandError, match=words) as caught:
        load_model(text)
    assert "\n" not in str(caught.value)


def test_elements_cannot_hide_behind_an_encoding():
    hidden = world("<include file='/etc/passwd'/>")
    with pytest.raises(VandError, match="<include> is refused"):
        require_harmless(f"<?xml version='1.0' encoding='UTF-16'?>{hidden}")


def test_a_model_that_takes_too_much_memory_is_refused():
    picture = "<texture name='t{}' type='2d' builtin='flat' width='4096' height='4096'/>"
    many = "".join(picture.format(i) for i in range(60))  # each within its bound
    with pytest.raises(VandError, match=r"compiling it for trial|does not compile|memory"):
        load_model(world(f"<asset>{many}</asset>"))
    with pytest.raises(VandError):
        load_model(world("<size memory='60G'/>"))


def test_a_picture_that_is_too_large_by_itself_is_refused():
    picture = "<texture name='t' type='2d' builtin='flat' width='30000' height='30000'/>"
    with pytest.raises(VandError, match="expected a number up to 4096, got '30000'"):
        load_model(world(f"<asset>{picture}</asset>"))


@pytest.mark.parametrize(
    ("element", "key", "most"),
    [(element, key, most) for element, keys in MOST.items() for key, most in keys.items()],
)
def test_every_number_that_costs_memory_or_time_has_a_bound(element, key, most):
    require_harmless(world(f"<x><{element} {key}='{most}'/></x>"))
    for text in (f"{most + 1}", f"-{most + 1}", f"1 {most + 1}", "1e99", "nan", "inf", "many"):
        with pytest.raises(VandError, match=f"<{element} {key}=...>: expected a number up to"):
            require_harmless(world(f"<x><{element} {key}='{text}'/></x>"))


def test_a_world_without_its_robot_is_refused():
    ours = make_world()
    shown = replace(episode(), robot=ours.robot.name, model_file=ours.xml)
    assert world_of(shown).model is ours.model
    empty = replace(shown, model_file="<mujoco><worldbody/></mujoco>")
    with pytest.raises(VandError, match=r"model_file: expected the site 'robot/ee' of robot"):
        world_of(empty)
    renamed = replace(shown, model_file=ours.xml.replace('"robot/lift"', '"robot/mast"'))
    with pytest.raises(VandError, match="expected the joint 'robot/lift' of robot"):
        world_of(renamed)
