"""Pushing to the Hub and pulling from it.

What is pulled comes from outside: only files of the names below are taken, each is measured before
it is fetched, and then a run or a data set is opened as any other.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vand_demos.storage.guard import require_readable
from vand_demos.storage.reader import DemoDataset
from vand_demos.system.files import read_regular, replacing_folder
from vand_demos.system.limits import require_room
from vand_envs.errors import UsageError, VandError
from vand_robot.hub.cards import data_card, model_card
from vand_robot.layout import (
    BEST,
    CONFIG_FILE,
    EPISODES_FILE,
    METRICS_FILE,
    POLICY_JSON,
    POLICY_TENSORS,
    PROVENANCE_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    EvaluationFolder,
    RunFolder,
)
from vand_robot.runtime.errors import gist

CARD = "README.md"
EVALUATION = "evaluation"
RUN_FILES = (
    CONFIG_FILE,
    METRICS_FILE,
    PROVENANCE_FILE,
    f"{BEST}/{POLICY_JSON}",
    f"{BEST}/{POLICY_TENSORS}",
    *(f"{EVALUATION}/{name}" for name in (RESULTS_FILE, EPISODES_FILE, REPORT_FILE)),
)
"""Files of a run on the Hub, those that are there; the state of training stays at home."""


def push(source: Path, repo: str, *, private: bool = True, license_name: str = "mit") -> str:
    """Upload a run or a data set, with a card.

    Args:
        source: A run's folder, or a data set's file.
        repo: `name` or `owner/name` on the Hub; it is made if it is not there.
        private: Whether a repository that is made is private.
        license_name: Identifier of the licence, as the Hub has them.

    Returns:
        The address of the repository.

    Raises:
        UsageError: It is neither a run nor a data set.
        VandError: It is damaged, `huggingface_hub` is not installed, or the Hub refuses.
    """
    api = _api()
    data = source.is_file()
    if not data and not RunFolder(source).is_run:
        raise UsageError(f"{source}: expected a run's folder, or a data set's file")
    kind = "dataset" if data else "model"
    with TemporaryDirectory() as folder:
        card = Path(folder) / CARD
        with _hub(repo):
            made = api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        card.write_text(_card(source, made.repo_id, license_name), "utf-8")
        files = {source.name: source} if data else _files(source)
        from huggingface_hub import CommitOperationAdd  # noqa: PLC0415  (optional)

        operations = [
            CommitOperationAdd(name, str(file)) for name, file in {CARD: card, **files}.items()
        ]
        with _hub(repo):
            api.create_commit(
                made.repo_id, operations, commit_message=f"Upload {source.name}", repo_type=kind
            )
    return str(made)


def pull(repo: str, out: Path, *, data: bool = False, revision: str | None = None) -> Path:
    """Download a run or a data set, and check that it can be opened.

    Args:
        repo: `owner/name` on the Hub.
        out: Folder to make.
        data: Whether it is a data set.
        revision: Branch, tag or commit; the newest by default.

    Returns:
        The run's folder, or the data set's file.

    Raises:
        UsageError: `out` exists.
        VandError: No such repository, it is too large or not ours, it is damaged, and then nothing
            is kept, or `huggingface_hub` is not installed.
    """
    api = _api()
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise UsageError(f"{out} exists; choose another with --out")
    kind = "dataset" if data else "model"
    with _hub(repo):
        info = api.repo_info(repo, repo_type=kind, revision=revision, files_metadata=True)
        sizes = {
            file.rfilename: int(file.size or 0)
            for file in info.siblings or ()
            if _wanted(file.rfilename, data=data)
        }
    if not sizes:
        expected = "a file *.hdf5" if data else f"{BEST}/{POLICY_JSON}"
        raise VandError(f"{repo}: expected {expected} in it; it is no vand-robot repository")
    require_room(repo, sum(sizes.values()))
    with replacing_folder(out) as new, _hub(repo):
        for name in sizes:
            api.hf_hub_download(repo, name, repo_type=kind, revision=info.sha, local_dir=new)
        shutil.rmtree(new / ".cache", ignore_errors=True)  # the client's notes
    try:
        return _checked(out, sorted(sizes), data=data)
    except VandError:
        shutil.rmtree(out, ignore_errors=True)  # it did not exist, and is of no use
        raise


def _wanted(name: str, *, data: bool) -> bool:
    """Whether a file of a repository is taken: a name that we know, and no path out of it."""
    return Path(name).name == name and name.endswith(".hdf5") if data else name in RUN_FILES


def _checked(out: Path, names: list[str], *, data: bool) -> Path:
    from vand_robot.policies.checkpoint import load_checkpoint  # noqa: PLC0415  (loads torch)

    if not data:
        load_checkpoint(out)
        return out
    for name in names:
        require_readable(out / name)
    return out / names[0]


def _card(source: Path, repo: str, license_name: str) -> str:
    if source.is_file():
        with DemoDataset.open(source, guarded=True) as dataset:
            return data_card(repo, dataset, license_name)
    from vand_robot.evaluation.results import EvaluationResult  # noqa: PLC0415
    from vand_robot.policies.checkpoint import load_checkpoint  # noqa: PLC0415  (loads torch)

    run, results = RunFolder(source), EvaluationFolder(source / EVALUATION).results
    result = EvaluationResult.read(results) if results.exists() else None
    spec = load_checkpoint(source).policy.spec
    return model_card(
        repo, spec, read_regular(run.config).decode("utf-8", "replace"), result, license_name
    )


def _files(run: Path) -> dict[str, Path]:
    """Name on the Hub -> file, of those that the run has."""
    found = {name: run / name for name in RUN_FILES if (run / name).is_file()}
    if f"{BEST}/{POLICY_JSON}" not in found:
        raise UsageError(f"{run}: no {BEST}/{POLICY_JSON}; train it to its first validation")
    return found


def _api() -> Any:
    if find_spec("huggingface_hub") is None:
        raise VandError("huggingface_hub is not installed; pip install 'vand-robot[hub]'")
    from huggingface_hub import HfApi  # noqa: PLC0415  (optional)

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="vand-robot")


@contextmanager
def _hub(repo: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one line."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    try:
        yield
    except HfHubHTTPError as error:
        said = error.server_message or str(error).strip().splitlines()[0]
        raise VandError(f"{repo}: the Hub says: {' '.join(said.split())}") from None
    except HFValidationError as error:
        raise UsageError(f"{repo}: {' '.join(str(error).split())}") from None
    except VandError:
        raise
    except OSError as error:
        raise VandError(f"{repo}: {error.strerror or error}") from error
    except Exception as error:  # the client lets through what its libraries make of an answer
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore"):
            raise VandError(f"{repo}: the Hub cannot be reached: {gist(error)}") from None
        raise VandError(
            f"{repo}: the Hub's answer is none: {type(error).__name__}: {gist(error)}"
        ) from error
