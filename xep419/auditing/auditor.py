"""The audit itself: sources in, a report out, each byte scanned once for names.

Elements are parsed only in stanzas that may be encrypted end to end, which a search for the schemes' namespaces
tells. So a namespace of theirs that is written with character references (``&#58;``) is counted as a name, and its
stanza as not encrypted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from ..errors import EncodingError, UnsupportedArchiveError, XEP419Error
from ..names import Place, Scope
from ..namespaces import NamespaceCensus
from ..stream import StanzaStream
from .census import NameCensus, SchemeCensus
from .documents import MOST_HELD, DocumentReader
from .e2ee import OTR, SCANNED, SOUGHT, mentions_otr, read
from .places import InDocument, InRows, Locator
from .report import AuditReport, Problem, SourceAudited, Transport
from .sources import Advance, Archive, Document, StoredStanza, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sources import Source

#: bytes of stored stanzas that are scanned at once
_BATCH = 1 << 18
_DECLARATIONS = Scope.DECLARATIONS  # a class attribute of an enumeration is found in Python
#: problems that are kept
MOST_PROBLEMS = 1000


def _ignore(_count: int) -> None:
    pass


class Auditor:
    """Collects what any number of sources hold.

    :param places: how many places are kept of each name and scheme; the counts are exact.
    :param advance: is told the bytes that were read.
    :raises ValueError: ``places`` is not 0 to 1000.
    """

    def __init__(self, *, places: int = 3, advance: Advance = _ignore) -> None:
        self._advance = advance
        self._names = NameCensus(places)
        self._schemes = SchemeCensus(places)
        self._sources: list[SourceAudited] = []
        self._problems: list[Problem] = []
        self._more_problems = 0
        self._skipped = 0

    def read(self, source: Source, *, name: str | None = None) -> None:
        """Audits one source: see :func:`xep419.audit`.

        :param name: what to call it, where it is no path or URL.
        :raises OSError: it cannot be opened or read; what a directory lists becomes a problem in the report.
        :raises ImportError: its format needs an extra that is not installed; likewise.
        """
        for part in parts(source, self._advance, name):
            try:
                if isinstance(part, Document):
                    self._read_document(part)
                else:
                    self._read_archive(part)
            except UnsupportedArchiveError as error:
                if part.listed:
                    self._skipped += 1
                else:
                    self._note_problem(Problem(Place(part.name, 0), error.message, 0))
            except (OSError, ImportError) as error:
                if not part.listed:
                    raise
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                self._note_problem(Problem(Place(part.name, 0), reason, 0))

    def report(self) -> AuditReport:
        """What was found so far."""
        return AuditReport(
            tuple(self._sources),
            self._names.found(),
            self._names.uncounted,
            self._schemes.found(),
            self._schemes.all(),
            tuple(self._problems),
            self._more_problems,
            self._skipped,
        )

    def _note_problem(self, problem: Problem) -> None:
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(problem)
        else:
            self._more_problems += 1

    # -- documents --------------------------------------------------------------------------------------------

    def _read_document(self, part: Document) -> None:
        reader = DocumentReader(part.name, part.chunks)
        try:
            self._read_regions(reader)
        finally:
            self._sources.append(
                SourceAudited(part.name, reader.size, reader.ciphertext, reader.stanzas, *reader.transport)
            )

    def _read_regions(self, reader: DocumentReader) -> None:
        names = _Names(self._names.new())
        try:
            for start, data, stanzas in reader.regions():
                self._read_region(names, data, stanzas, InDocument(reader.name, start))
            names.finish()
        finally:
            self._names.add(names.census, InDocument(reader.name))
        if names.error is not None and not isinstance(names.error, EncodingError):  # of which the reader tells
            self._note_problem(Problem(Place(reader.name, names.error.offset or 0), names.error.message, 0))
        if reader.problem is not None:
            self._note_problem(reader.problem)

    def _read_region(self, names: _Names, data: bytes, stanzas: list[bytes], locator: Locator) -> None:
        marks = names.update(data)
        if stanzas:
            marks += [mark for mark in SOUGHT if mark in data]
            if mentions_otr(data):
                marks.append(OTR)
            if marks:
                self._read_encrypted(data, stanzas, marks, locator)

    def _read_encrypted(self, data: bytes, stanzas: list[bytes], marks: list[bytes], locator: Locator) -> None:
        """Those stanzas, which stand in ``data`` in this order, that hold one of the marks."""
        end = 0
        for stanza in _marked(stanzas, marks):
            start = data.index(stanza, end)
            end = start + len(stanza)
            try:
                for encrypted in read(stanza):
                    self._schemes.add(encrypted, locator.at(start + encrypted.start))
            except XEP419Error as error:
                self._note_problem(Problem(locator.at(start + (error.offset or 0)), error.message, len(stanza)))

    # -- archives ---------------------------------------------------------------------------------------------

    def _read_archive(self, part: Archive) -> None:
        stanzas = size = 0
        try:
            for batch in _batches(part.stanzas):
                count, read_bytes = self._read_batch(batch)
                stanzas += count
                size += read_bytes
        except UnsupportedArchiveError:
            raise
        except XEP419Error as error:
            self._note_problem(Problem(Place(part.name, error.offset or 0), error.message, 0))
        if stanzas or size:
            self._sources.append(
                SourceAudited(part.name, size, 0, stanzas, Transport.UNKNOWN, "an archive keeps no trace of it")
            )

    def _read_batch(self, batch: list[StoredStanza]) -> tuple[int, int]:
        """Stanzas and bytes of the batch: in one scan where each row is one whole element, else row by row."""
        rows = [stanza.data for stanza in batch]
        joined = b"\n".join(rows)
        if _are_elements(rows, joined):
            locator = InRows([stanza.place for stanza in batch], rows)
            names = _Names(self._names.new())
            self._read_region(names, joined, rows, locator)
            names.finish()
            self._names.add(names.census, locator)
            return len(rows), sum(map(len, rows))
        stanzas = size = 0
        for stanza in batch:
            reader = DocumentReader(stanza.place, iter((stanza.data,)))
            self._read_regions(reader)
            stanzas += reader.stanzas
            size += reader.size
        return stanzas, size


class _Names:
    """Counts the names of one document, and tells which schemes' namespaces come by."""

    def __init__(self, census: NamespaceCensus) -> None:
        self.census = census
        #: why it counts no more
        self.error: XEP419Error | None = None
        self._seen = dict.fromkeys(SCANNED, 0)

    def update(self, data: bytes) -> list[bytes]:
        """The namespaces of schemes that ``data``, whose markup is whole, declares."""
        if self.error is None:
            try:
                self.census.update(data)
            except XEP419Error as error:
                self.error = error
        declared = []
        count_of = self.census.count_of
        for name, seen in self._seen.items():
            count = count_of(name, _DECLARATIONS)
            if count != seen:
                self._seen[name] = count
                declared.append(name.encode())
        return declared

    def finish(self) -> None:
        if self.error is None:
            self.census.finalize()


def _marked(stanzas: list[bytes], marks: list[bytes]) -> Iterator[bytes]:
    """The stanzas that hold one of the marks, in order. One search over all of them takes less than one in each."""
    joined = b"".join(stanzas)
    ends = list(accumulate(map(len, stanzas)))
    found = set()
    for mark in marks:
        at = joined.find(mark)
        while at >= 0:
            number = bisect_right(ends, at)
            found.add(number)
            at = joined.find(mark, ends[number])
    return (stanzas[number] for number in sorted(found))


def _batches(stanzas: Iterator[StoredStanza]) -> Iterator[list[StoredStanza]]:
    batch: list[StoredStanza] = []
    size = 0
    for stanza in stanzas:
        batch.append(stanza)
        size += len(stanza.data)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _are_elements(rows: list[bytes], joined: bytes) -> bool:
    """Whether each row is one well-formed element and nothing else."""
    stream = StanzaStream(max_stanza=MOST_HELD, restricted=False)
    stream.feed(b"<stanzas>")
    try:
        return stream.feed(joined) == rows
    except XEP419Error:
        return False
