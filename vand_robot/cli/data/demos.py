"""`vand-robot demos`: parsing and printing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Annotated, Any

import typer

from vand_demos import DemoDataset, check_file, repair
from vand_demos.interop import (
    FORMATS,
    Conversion,
    ImportOptions,
    export_dataset,
    import_dataset,
)
from vand_demos.storage.augment import augment
from vand_demos.storage.describe import describe
from vand_demos.storage.difference import compare_datasets
from vand_demos.storage.editing import delete, merge, select, split
from vand_demos.storage.selection import EpisodeFilter
from vand_demos.system.machine import likely_reason
from vand_demos.system.version import made_by
from vand_demos.verify import (
    SOURCES,
    Resimulation,
    Restoration,
    load_verifiable,
    resimulate,
    restore,
)
from vand_envs.cameras import parse_image_sizes
from vand_envs.errors import unknown_name
from vand_robot.cli import console
from vand_robot.cli.importing import (
    ImportBounds,
    ImportImages,
    ImportInstruction,
    ImportKeys,
    ImportPhrasings,
    ImportRate,
    ImportTasks,
    SourceRate,
    parse_bounds,
    parse_keys,
    read_phrasings,
)
from vand_robot.cli.options import (
    ALL_IMAGES,
    AnyFile,
    DataFile,
    Force,
    Images,
    ImageSize,
    Json,
    example,
    names,
    note_waiting,
)

demos = typer.Typer(
    help="Inspect, check, edit and convert data sets of demonstrations.", no_args_is_help=True
)

NewFile = Annotated[Path, typer.Option("--out", help="Data set to write (HDF5).")]
Format = Annotated[str, typer.Option("--format", help=", ".join(FORMATS) + ".")]


@demos.command(epilog=example("vand-robot demos info demos/data/workshop.hdf5"))
def info(file: AnyFile, json: Json = False) -> None:
    """Describe a data set: tasks, episodes, robot, observations."""
    facts = describe(file)
    if json:
        console.print_json(facts)
        return
    console.print_table(
        f"{file}: {facts['episodes']} episodes, {facts['steps']} steps,"
        f" {facts['size_bytes'] / 1e6:.1f} MB",
        ("task", "instruction", ">episodes", ">success", ">steps (min, median, max)"),
        [
            [
                task,
                entry["instruction"],
                str(entry["episodes"]),
                _outcome(entry),
                ", ".join(f"{n:g}" for n in entry["steps"].values()),
            ]
            for task, entry in facts["tasks"].items()
        ],
    )
    lines = {
        "robot": facts["robot"],
        "actions": f"{facts['action_mode']} at {1 / facts['control_dt_s']:g} Hz",
        **_origin(facts),
        **_changes(facts),
        "devices": ", ".join(f"{name} ({n})" for name, n in facts["devices"].items()),
        "splits": ", ".join(f"{name} ({n})" for name, n in _splits(facts).items()) or "none",
        "states": "stored" if facts["states"] else "left out",
        "observations": ", ".join(
            f"{key} {'x'.join(map(str, shape))}" for key, shape in facts["observations"].items()
        ),
    }
    for name, text in lines.items():
        console.out.print(f"{name}: {text}")
    if facts["pending_parts"]:
        console.out.print(
            f"{facts['pending_parts']} recorded episodes are not packed yet:"
            f" vand-robot demos repair {file}"
        )


def _outcome(entry: Mapping[str, Any]) -> str:
    """The share of successes, and how many episodes do not tell."""
    unknown = entry["outcome_unknown"]
    if entry["success"] is None:
        return "unknown"
    return console.percent(entry["success"]) + (f" ({unknown} unknown)" if unknown else "")


def _changes(facts: Mapping[str, Any]) -> dict[str, str]:
    """Which instructions change on the way, in how many episodes."""
    changes = [
        f"{', then '.join(change['tasks'])} ({change['episodes']})" for change in facts["changes"]
    ]
    return {"changed instructions": "; ".join(changes)} if changes else {}


def _origin(facts: Mapping[str, Any]) -> dict[str, str]:
    """Where an imported data set is from, the units of its actions, and what it does not hold."""
    source = facts["source"]
    if not source:
        return {}
    lines = {"imported from": f"{source.get('format', '')} {source.get('name', '')}".strip()}
    if facts["bounds"]:
        low, high = facts["bounds"].values()
        pairs = ", ".join(f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True))
        lines["native actions"] = pairs
    lines |= {"note": note} if (note := source.get("notes")) else {}
    lack = [name for name in ("rewards", "world", "states") if not facts[name]]
    return {**lines, "not in the source": ", ".join(lack)} if lack else lines


def _splits(facts: Mapping[str, Any]) -> dict[str, int]:
    """Split -> number of episodes; also the number in no split, if the file has splits."""
    left = facts["unassigned"]
    return {**facts["splits"], **({"in neither, so not trained on": left} if left else {})}


@demos.command(epilog=example("vand-robot demos check demos/data/workshop.hdf5"))
def check(file: DataFile, json: Json = False) -> None:
    """Check every array of a data set; one line per fault, exit code 1 if there is any."""
    faults = check_file(file)
    if json:
        console.print_json({"path": str(file), "faults": faults})
    else:
        for fault in faults:
            typer.echo(fault)
        if not faults:
            typer.echo(f"{file}: sound")
    if faults:
        raise typer.Exit(1)


@demos.command("diff", epilog=example("vand-robot demos diff wipe.hdf5 wipe-again.hdf5"))
def diff_command(
    first: Annotated[Path, typer.Argument(metavar="FILE", help="Data set (HDF5).")],
    second: Annotated[Path, typer.Argument(metavar="FILE", help="Data set to compare it with.")],
    json: Json = False,
) -> None:
    """Compare two data sets bit for bit but for identifiers and times; exit code 1 if they differ.

    Two recordings of the same seeds on the same machine are equal.
    """
    with console.progress_bar("comparing") as progress:
        result = compare_datasets(first, second, progress)
    if json:
        console.print_json({"first": str(first), "second": str(second), **asdict(result)})
    else:
        for difference in result.differences:
            typer.echo(": ".join(filter(None, (difference.place, difference.words))))
        if result.reason:
            typer.echo(result.reason)
        if not result.differences:
            typer.echo(f"equal: {result.episodes} episodes, but for identifiers and times")
    if result.differences:
        raise typer.Exit(1)


@demos.command("repair", epilog=example("vand-robot demos repair wipe.hdf5"))
def repair_command(file: AnyFile, json: Json = False) -> None:
    """Pack the episodes that a crashed recording has left into the data set."""
    report = repair(file)
    if json:
        damaged = [str(path) for path in report.damaged]
        console.print_json({**vars(report), "path": str(report.path), "damaged": damaged})
        return
    typer.echo(
        f"{report.path}: {report.episodes} episodes, {report.recovered} of them recovered now"
    )
    for path in report.damaged:
        typer.echo(f"{path}: cannot be read, kept aside")


@demos.command("split", epilog=example("vand-robot demos split wipe.hdf5 --valid 0.2"))
def split_command(
    file: DataFile,
    valid: Annotated[float, typer.Option(help="Share held out for validation.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Which episodes are held out.")] = 0,
    json: Json = False,
) -> None:
    """Set the splits `train` and `valid`, in the same proportion for every task."""
    splits = split(file, valid, seed)
    if json:
        console.print_json({"path": str(file), "splits": splits})
        return
    typer.echo(f"{file}: " + ", ".join(f"{key} {len(names)}" for key, names in splits.items()))


@demos.command(
    "merge", epilog=example("vand-robot demos merge monday.hdf5 tuesday.hdf5 --out week.hdf5")
)
def merge_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE ...", help="Data sets (HDF5).")],
    out: NewFile,
    force: Force = False,
    json: Json = False,
) -> None:
    """Put several data sets into a new one, in their order; splits of one name are joined."""
    note_waiting(files)
    _print_names(out, merge(out, files, overwrite=force), as_json=json)


@demos.command(
    "filter", epilog=example("vand-robot demos filter all.hdf5 --task wipe --success --out w.hdf5")
)
def filter_command(
    file: DataFile,
    out: NewFile,
    task: Annotated[list[str] | None, typer.Option(help="Of this task; may be repeated.")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Driven by this device; may be repeated.")
    ] = None,
    success: Annotated[
        bool | None, typer.Option("--success/--failure", help="Which outcome.")
    ] = None,
    min_seconds: Annotated[float, typer.Option(help="At least this many seconds long.")] = 0.0,
    max_seconds: Annotated[float, typer.Option(help="At most this many seconds long.")] = math.inf,
    split_name: Annotated[
        str | None, typer.Option("--split", help="In this split: train, valid.")
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Copy the episodes that fit every option into a new data set, under their names."""
    criteria = EpisodeFilter(
        tasks=tuple(task or ()),
        devices=tuple(device or ()),
        success=success,
        min_s=min_seconds,
        max_s=max_seconds,
        split=split_name,
    )
    with DemoDataset.open(file, guarded=True) as dataset:
        names = criteria.select(dataset)
    _print_names(out, select(file, out, names, overwrite=force), as_json=json)


@demos.command("delete", epilog=example("vand-robot demos delete wipe.hdf5 demo_3 demo_7"))
def delete_command(
    file: DataFile,
    episodes: Annotated[list[str], typer.Argument(metavar="EPISODE ...", help="demo_0 ...")],
    json: Json = False,
) -> None:
    """Remove episodes from a data set; the others keep their names."""
    _print_names(file, delete(file, episodes), as_json=json)


def _print_names(path: Path, names: Sequence[str], *, as_json: bool) -> None:
    """Print the episodes that a data set holds now."""
    if as_json:
        console.print_json({"path": str(path), "episodes": list(names)})
    else:
        typer.echo(f"{path}: {len(names)} episode{'s' if len(names) > 1 else ''}")


@demos.command("verify", epilog=example("vand-robot demos verify wipe.hdf5 --from actions"))
def verify_command(
    file: DataFile,
    episode: Annotated[
        str | None, typer.Option(help="Name of the demonstration, demo_0 ...; default: the first.")
    ] = None,
    source: Annotated[str, typer.Option("--from", help=", ".join(SOURCES) + ".")] = "states",
    json: Json = False,
) -> None:
    """Reproduce a demonstration, and say how exactly that agrees with what was recorded.

    From its states: each is restored and observed. From its actions: they are simulated from the
    first state. From its controls: what was executed, which the states hold, is simulated.
    """
    if source not in SOURCES:
        raise unknown_name("source", source, SOURCES)
    demo = load_verifiable(file, episode)
    result = restore(demo) if source == "states" else resimulate(demo, source)
    if json:
        console.print_json(
            {"path": str(file), "episode": demo.name, "source": source, **asdict(result)}
        )
        return
    typer.echo(f"{file}: {demo.name}: {demo.instruction} ({demo.device}), from {source}")
    if isinstance(result, Restoration):
        _print_restoration(result)
    else:
        _print_resimulation(result, source)
    if not result.exact and source != "actions":  # those differ where a disturbance acted, too
        typer.echo(likely_reason(demo.versions, made_by()))


def _print_restoration(result: Restoration) -> None:
    world = "this software's world" if result.built_in_world else "the world embedded in it"
    typer.echo(f"{result.steps} states restored in {world}")
    off = {key: d for key, d in result.differences.items() if d}
    for key, difference in off.items():
        typer.echo(f"obs/{key} differs from what was recorded by up to {difference:.2g}")
    agreeing = len(result.differences) - len(off)
    typer.echo(f"{agreeing} of {len(result.differences)} observation keys agree, bit for bit")
    if result.not_compared:
        typer.echo(f"not compared: {', '.join(result.not_compared)}")


def _print_resimulation(result: Resimulation, source: str) -> None:
    console.print_table(
        f"Divergence of {result.steps} simulated steps from what was recorded",
        (">after [s]", ">hand [m]", ">hand [rad]", ">base [m]", ">base [rad]", ">things [m]"),
        [[f"{number:.3g}" for number in astuple(at)] for at in result.divergence],
    )
    if not result.same_start:
        typer.echo(
            "the episode's seed does not give its first state any more: masses, friction and"
            " latency may differ too"
        )
    if result.other_steps and source == "actions":
        typer.echo(
            f"recorded actions are the demonstrator's clean labels: at {result.other_steps} of"
            f" {result.steps} steps a disturbance made the robot execute something else, which is"
            f" what diverges; --from controls simulates what was executed"
        )


@demos.command(
    "augment",
    epilog=example("vand-robot demos augment wipe.hdf5 --images head_rgb --out wipe_rgb.hdf5"),
)
def augment_command(
    file: DataFile,
    out: NewFile,
    images: Images = ALL_IMAGES,
    image_size: ImageSize = "64x64",
    force: Force = False,
    json: Json = False,
) -> None:
    """Add camera images to a data set, drawn from its states: as if recorded with it."""
    sizes = parse_image_sizes(images, image_size)
    with console.progress_bar("drawing") as progress:
        names = augment(file, out, sizes, overwrite=force, progress=progress)
    _print_names(out, names, as_json=json)


@demos.command("plot", epilog=example("vand-robot demos plot wipe.hdf5 --out figures"))
def plot_command(
    file: DataFile,
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures.")],
    force: Force = False,
    json: Json = False,
) -> None:
    """Draw trajectories of hand and base, lengths, and histograms of the actions, as PNG."""
    from vand_robot.workflows.plot_dataset import (  # noqa: PLC0415  (matplotlib takes a while)
        write_figures,
    )

    written = write_figures(file, out, force=force)
    if json:
        console.print_json({"path": str(file), "figures": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(str(path))


@demos.command(
    "export",
    epilog=example("vand-robot demos export wipe.hdf5 --format lerobot --out wipe_lerobot"),
)
def export_command(
    file: DataFile,
    format_name: Format,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it must not exist.")],
    json: Json = False,
) -> None:
    """Write a data set in another format, with everything that `demos import` needs."""
    report = export_dataset(file, out, format_name)
    _print_conversion(report, as_json=json)


@demos.command(
    "import", epilog=example("vand-robot demos import lift.hdf5 --format robomimic --out ours.hdf5")
)
def import_command(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="File or folder to read.")],
    format_name: Format,
    out: NewFile,
    keys: ImportKeys = "",
    images: ImportImages = "",
    tasks: ImportTasks = None,
    instruction: ImportInstruction = None,
    phrasings: ImportPhrasings = None,
    bounds: ImportBounds = "",
    rate: ImportRate = None,
    source_rate: SourceRate = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Read a data set of others; or one that `demos export` wrote, exactly as it was."""
    options = ImportOptions(
        keys=parse_keys(keys),
        images=names(images),
        tasks=tuple(tasks or ()),
        instruction=instruction,
        phrasings=read_phrasings(phrasings) if phrasings else {},
        bounds=parse_bounds(bounds),
        rate_hz=rate,
        source_rate_hz=source_rate,
    )
    report = import_dataset(source, out, format_name, options, overwrite=force)
    _print_conversion(report, as_json=json)


def _print_conversion(report: Conversion, *, as_json: bool) -> None:
    if as_json:
        console.print_json({**asdict(report), "out": str(report.out)})
        return
    typer.echo(f"{report.out}: {report.episodes} episodes, {report.steps} steps")
    for note in report.note.split("; ") if report.note else ():
        typer.echo(f"note: {note}")
