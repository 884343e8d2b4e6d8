"""The main job on real input: a recorded XMPP session, upgraded and encrypted with Double ROT-13.

    make demo                          the sessions in examples/recorded
    python examples/demo.py FILE...    your own

Shows what changed, proves that nothing else did, and how fast it went.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

import xep419

RECORDED = Path(__file__).parent / "recorded"
DECLARATION = re.compile(rb"""(\sxmlns(?::[\w.-]+)?\s*=\s*["'])(http|urn:xmpp)(?=:)""")


STANZA = re.compile(rb"<(iq|message|presence)\b(?:[^>]*/>|.*?</\1>)", re.DOTALL)


def telling_stanza(streams: dict[str, bytes]) -> bytes:
    """The stanza of at most 420 bytes that holds most insecure names in most kinds of position."""
    stanzas = [found[0] for stream in streams.values() for found in STANZA.finditer(stream) if len(found[0]) <= 420]

    def telling(stanza: bytes) -> tuple[int, int]:
        refs = [ref for ref in xep419.scan(stanza) if not ref.secure]
        return len({ref.kind for ref in refs}), len(refs)

    return max(stanzas, key=telling)


def show_stanza(console: Console, stanza: bytes) -> None:
    """One stanza before and after, the added letters marked."""
    marked = Text()
    done = 0
    encrypted = xep419.encrypt(stanza)
    for ref in xep419.scan(encrypted):
        letter = encrypted.index(b"s:", ref.start)
        marked.append(encrypted[done:letter].decode())
        marked.append("s", style="bold reverse green")
        done = letter + 1
    marked.append(encrypted[done:].decode())
    console.print("\n[bold]One stanza as it was recorded[/]")
    console.print(Text(stanza.decode()))
    console.print("[bold]upgraded, and encrypted whole with Double ROT-13[/]")
    console.print(marked)


def median_seconds(works: dict[str, Callable[[], object]], rounds: int = 15) -> dict[str, float]:
    """The median time of each, taken in turns so that a change of the machine's speed meets them all."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}


def show_names(console: Console, streams: dict[str, bytes]) -> None:
    refs = [ref for stream in streams.values() for ref in xep419.scan(stream)]
    counts = Counter((ref.name, ref.kind.name) for ref in refs if not ref.secure)
    table = Table(title=f"Insecure names: {sum(counts.values())} in {sum(map(len, streams.values())):,} bytes")
    for column in ("name", "position", "becomes"):
        table.add_column(column, overflow="fold")
    table.add_column("count", justify="right")
    for (name, kind), count in counts.most_common(12):
        table.add_row(name, str(kind), xep419.upgrade_name(name), str(count))
    if len(counts) > 12:
        table.add_row("…", "", f"and {len(counts) - 12} more", "")
    console.print(table)


def check(streams: dict[str, bytes]) -> int:
    """Encrypts every stream and proves that only the letters were added; returns how many."""
    added = 0
    for stream in streams.values():
        insecure = [ref for ref in xep419.scan(stream) if not ref.secure]
        encrypted = xep419.encrypt(stream)
        added += len(encrypted) - len(stream)
        if len(encrypted) - len(stream) != len(insecure):
            raise SystemExit("a name was missed")
        if xep419.decrypt(encrypted) != xep419.upgrade(stream):
            raise SystemExit("decryption does not give the upgraded stream back")
        if xep419.downgrade(xep419.decrypt(encrypted), known_only=False) != stream:
            raise SystemExit("downgrading does not give the recorded bytes back")
        if any(not ref.secure for ref in xep419.scan(encrypted)):
            raise SystemExit("an insecure name is left")
    return added


def show_speed(console: Console, stream: bytes) -> None:
    buffer = bytearray(len(stream))
    target = memoryview(buffer)
    seconds = median_seconds(
        {
            "xep419.encrypt": lambda: xep419.encrypt(stream),
            "xep419.upgrade": lambda: xep419.upgrade(stream),
            "xep419.double_rot13_into": lambda: xep419.double_rot13_into(stream, buffer),
            "memcpy (memoryview assignment)": lambda: target.__setitem__(slice(None), stream),
            "re.sub, declarations only": lambda: DECLARATION.sub(rb"\1\2s", stream),
        }
    )
    slowest = max(seconds.values())
    table = Table(title=f"Speed on {len(stream) / 1e6:.1f} MB of these streams, instruction set {xep419.isa}")
    table.add_column("operation")
    table.add_column("MB/s", justify="right")
    table.add_column("× re.sub", justify="right")
    for name, taken in seconds.items():
        table.add_row(name, f"{len(stream) / taken / 1e6:,.0f}", f"{slowest / taken:,.1f}")
    console.print(table)


def main(arguments: list[str]) -> None:
    files = [Path(name) for name in arguments] or sorted(RECORDED.glob("*.xml"))
    streams = {path.name: path.read_bytes() for path in files}
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    console.print(
        f"[bold]xep419 {xep419.__version__}[/], XEP-0419 on {len(files)} recorded directions of XMPP streams\n"
    )
    show_names(console, streams)
    added = check(streams)
    show_stanza(console, telling_stanza(streams))
    console.print(f"\n{added} letters were added, every other byte is as it was recorded: [green]checked[/]")
    console.print("Confidentiality gained: none. Two rotations by 13 are a rotation by 26.\n")
    joined = b"".join(streams.values())
    show_speed(console, joined * max(1, (1 << 20) // len(joined)))


if __name__ == "__main__":
    main(sys.argv[1:])
