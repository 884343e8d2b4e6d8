"""Ten thousand connections in one process: what a stream holds, and how long one stanza takes, beside expat.

    python benchmarks/soak.py [--streams 10000] [--rounds 20]

Every stream gets its header, then in each round two stanzas in pieces, in an order that jumps from stream to stream.
Memory is read when no stream is within a stanza. Then one whole stanza at a time goes to one stream after another, and
the time of each ``feed`` is kept: percentiles, not means, since a stanza waits for its own and not for the average.
The time contains two readings of the clock; how long these take is shown beside it.
"""

from __future__ import annotations

import argparse
import gc
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from operations import STREAM_HEADER

from xep419 import StanzaStream

STANZA = (
    b"<message from='juliet@capulet.example/balcony' to='romeo@montague.example/orchard' id='82a432914a644552' "
    b"type='chat' xml:lang='en'><body>Wherefore art thou, see http://example.org/ &amp; urn:xmpp:text</body>"
    b"<request xmlns='urn:xmpp:receipts'/><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
)
STATUS = Path("/proc/self/status")
Feed = Callable[[bytes], Any]


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    found = re.search(r"VmRSS:\s+(\d+) kB", STATUS.read_text())
    assert found
    return int(found[1]) * 1024


def ours() -> Feed:
    return StanzaStream().feed


def theirs() -> Feed:
    """Start and end handlers that follow the depth, as framing by expat needs."""
    parser = expat.ParserCreate()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    return lambda data: parser.Parse(data, False)


def opened(make: Callable[[], Feed], count: int) -> tuple[list[Feed], float]:
    """That many streams after their headers, and the bytes each takes."""
    before = resident()
    feeds = [make() for _ in range(count)]
    for feed in feeds:
        feed(STREAM_HEADER)
    return feeds, (resident() - before) / count


def soak(feeds: list[Feed], rounds: int) -> list[int]:
    """Bytes of the process after each round; every stanza must come out once, whole."""
    source = random.Random(419)
    pieces = STANZA + b"\n" + STANZA
    after = []
    for _ in range(rounds):
        cuts = sorted(source.sample(range(1, len(pieces)), 5))
        order = list(range(len(feeds)))
        found = 0
        for start, end in zip([0, *cuts], [*cuts, len(pieces)], strict=True):
            source.shuffle(order)
            for which in order:
                stanzas = feeds[which](pieces[start:end])
                assert all(stanza == STANZA for stanza in stanzas)
                found += len(stanzas)
        assert found == 2 * len(feeds)
        after.append(resident())
    return after


def latencies(feeds: list[Feed], rounds: int) -> list[int]:
    """Nanoseconds of each feed of one whole stanza, sorted."""
    clock, taken = time.perf_counter_ns, []
    gc.disable()
    for _ in range(rounds):
        for feed in feeds:
            begun = clock()
            feed(STANZA)
            taken.append(clock() - begun)
    gc.enable()
    return sorted(taken)


def percentiles(taken: list[int]) -> list[str]:
    return [f"{taken[int(len(taken) * share)]}" for share in (0.5, 0.99, 0.999)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--streams", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=20)
    chosen = options.parse_args()

    print(f"| {chosen.streams} streams | bytes each | p50, ns | p99, ns | p99.9, ns |")
    print("| --- | ---: | ---: | ---: | ---: |")
    feeds, each = opened(ours, chosen.streams)
    after = soak(feeds, chosen.rounds)
    print("| `StanzaStream.feed` |", " | ".join([f"{each:.0f}", *percentiles(latencies(feeds, chosen.rounds))]), "|")
    del feeds
    feeds, each = opened(theirs, chosen.streams)
    print("| expat |", " | ".join([f"{each:.0f}", *percentiles(latencies(feeds, chosen.rounds))]), "|")
    del feeds
    print("| the clock alone | |", " | ".join(percentiles(latencies([len] * chosen.streams, chosen.rounds))), "|")
    growth = (after[-1] - after[0]) / chosen.streams
    print(f"\nGrowth from the first round to the last of {chosen.rounds}: {growth:.1f} bytes a stream.")


if __name__ == "__main__":
    main()
