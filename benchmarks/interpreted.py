"""The formats whose containers Python parses: JSON Lines, Prosody's lists, XEP-0227; alone and by processes.

    python benchmarks/interpreted.py [--megabytes 20] [--rounds 3]
    python benchmarks/interpreted.py --jobs [--megabytes 200] [--directory DIR]

Without ``--jobs`` each format recodes and proves one file in memory, in this process, and the median speed of each is
printed. With it, whole commands re-encrypt a directory of files and one large file of each, one job and two in turns.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from archives import Side, reencrypt, run, seconds_of
from inputs import COMMON, NEVER, WORDS, unmarked

from xep419.archive.formats import Format, by_name
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Tally

MB = 10**6
#: as servers archive them: most are messages of people, some bring other payloads along
TEMPLATES = [text for _elements, text in [*NEVER[:1], *COMMON[1:2] * 4, *COMMON[4:5], COMMON[5]]]
#: bytes of one file of a directory
FILE = 4 * MB


def stanzas(size: int) -> Iterator[str]:
    """Archived stanzas of some 300 bytes, no two alike, in all about as many bytes."""
    source = random.Random(419)
    while size > 0:
        template = source.choice(TEMPLATES)
        text = " ".join(source.choices(WORDS, k=source.randrange(4, 24)))
        stanza = unmarked(
            (
                template
                % {
                    "sender": f"{source.choice(WORDS)}@capulet.example/{source.choice(WORDS)}",
                    "to": f"{source.choice(WORDS)}@montague.example",
                    "id": f"{source.getrandbits(64):016x}",
                    "text": text if source.random() < 0.7 else f"{text}\n&quot;é☃😀&quot; &amp; '{text[:9]}'",
                }
            ).encode()
        ).decode()
        size -= len(stanza)
        yield stanza


def json_lines(size: int) -> bytes:
    def line(number: int, stanza: str) -> str:
        record = {"id": number, "when": 1795366821.5 + number, "with": "romeo@montague.example", "stanza": stanza}
        return json.dumps({**record, "tags": ["mam", {"seen": True}]}, ensure_ascii=bool(number % 3)) + "\n"

    return "".join(line(number, stanza) for number, stanza in enumerate(stanzas(size))).encode()


def lists(size: int) -> bytes:
    """As Prosody 0.12 writes them."""

    def string(text: str) -> str:
        escapes = {"\n": "\\n", '"': '\\"', "'": "\\'", "\\": "\\\\"}
        characters = [
            escapes.get(chr(byte)) or (chr(byte) if 31 < byte < 127 else f"\\{byte:03}") for byte in text.encode()
        ]
        return f'"{"".join(characters)}"'

    def table(element: ElementTree.Element, indent: str, namespace: str, more: str = "") -> str:
        own, _, name = element.tag.rpartition("}")
        attributes = dict(element.attrib)
        if own.lstrip("{") not in ("", namespace):
            namespace = attributes["xmlns"] = own.lstrip("{")
        body = f"{indent}{string(element.text)};\n" if element.text else ""
        for child in element:
            body += f"{indent}{table(child, indent + chr(9), namespace)};\n"
            body += f"{indent}{string(child.tail)};\n" if child.tail else ""
        inner = "".join(f"{indent}\t[{string(key)}] = {string(value)};\n" for key, value in attributes.items())
        attr = f"{{\n{inner}{indent}}}" if inner else "{}"
        return f'{{\n{body}{more}{indent}["attr"] = {attr};\n{indent}["name"] = {string(name)};\n{indent[1:]}}}'

    def item(number: int, stanza: str) -> str:
        more = (
            f'\t["when"] = {1795366821 + number};\n\t["with"] = "romeo@montague.example";\n\t["key"] = "{number:x}";\n'
        )
        return f"item({table(ElementTree.fromstring(stanza), chr(9), '', more)});\n"

    return "".join(item(number, stanza) for number, stanza in enumerate(stanzas(size))).encode()


def export(size: int) -> bytes:
    head = (
        "<?xml version='1.0'?>\n<server-data xmlns='urn:xmpp:pie:0'><host jid='capulet.example'>"
        "<user name='juliet'><archive xmlns='urn:xmpp:pie:0#mam'>\n"
    )
    result = (
        "<result xmlns='urn:xmpp:mam:2' id='{0:x}'><forwarded xmlns='urn:xmpp:forward:0'>"
        "<delay xmlns='urn:xmpp:delay' stamp='2026-11-24T17:00:00Z'/>{1}</forwarded></result>\n"
    )
    body = "".join(result.format(*pair) for pair in enumerate(stanzas(size)))
    return f"{head}{body}</archive></user></host></server-data>\n".encode()


KINDS: dict[str, Callable[[int], bytes]] = {"jsonl": json_lines, "prosody-internal": lists, "xep0227": export}


def once(kind: Format, data: bytes) -> float:
    """Seconds to recode and prove."""
    source, target, tally = io.BytesIO(data), io.BytesIO(), Tally()
    started = time.perf_counter()
    kind.recode([source], [target], Recoding(), tally)
    source.seek(0)
    target.seek(0)
    proved = kind.prove([source], [target], Recoding())
    seconds = time.perf_counter() - started
    if (proved.stanzas, proved.letters, tally.skipped) != (tally.stanzas, tally.letters, 0) or not proved.letters:
        raise SystemExit(f"{kind.name}: {proved} was proved of {tally}")
    return seconds


def alone(megabytes: int, rounds: int) -> None:
    for name, made in KINDS.items():
        data = made(megabytes * MB)
        seconds = statistics.median(once(by_name(name), data) for _ in range(rounds))
        print(f"{name:20}{len(data) / MB:8.0f} MB{len(data) / MB / seconds:8.0f} MB/s", flush=True)


def by_jobs(directory: Path, megabytes: int, rounds: int) -> None:
    print(f"{'':32}{'1 job':>9}{'2 jobs':>9}{'times':>7}{'MB/s':>7}")
    sides = [Side(f"{number} jobs", reencrypt("--jobs", str(number))) for number in (1, 2)]
    for name, made in KINDS.items():
        data = made(FILE)
        for title, files in ((f"{name}, files of 4 MB", megabytes * MB // len(data)), (f"{name}, one file", 1)):
            source = directory / "source"
            source.mkdir()
            for number in range(files):
                with (source / f"{number:05}").open("wb") as file:
                    head, tail = split_root(data) if name == "xep0227" else (b"", b"")
                    body = data[len(head) : len(data) - len(tail)]
                    file.write(head + body * (1 if files > 1 else megabytes * MB // len(data)) + tail)
            os.sync()
            size = sum(path.stat().st_size for path in source.iterdir())
            turns = [[run(side, source, directory / "target") for side in sides] for _ in range(rounds)]
            one, two = ([turn[side] for turn in turns] for side in (0, 1))
            print(
                f"{title:32}{seconds_of(one):9.2f}{seconds_of(two):9.2f}{seconds_of(one) / seconds_of(two):7.2f}"
                f"{size / MB / seconds_of(two):7.0f}",
                flush=True,
            )
            shutil.rmtree(source)


def split_root(data: bytes) -> tuple[bytes, bytes]:
    """What is before the first archived result, and behind the last."""
    return data[: data.index(b"<result")], data[data.rindex(b"</result>\n") + 10 :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", action="store_true")
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path)
    arguments = parser.parse_args()
    if not arguments.jobs:
        alone(arguments.megabytes or 20, arguments.rounds)
        return
    with tempfile.TemporaryDirectory(prefix="xep419-interpreted-", dir=arguments.directory) as scratch:
        by_jobs(Path(scratch), arguments.megabytes or 200, arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
