"""A target held against its sources afterwards: ``xep419 archive verify``. Writes nothing."""

from __future__ import annotations

import contextlib
import dataclasses

from ..errors import ArchiveError, RestorationError, UnsupportedArchiveError, XEP419Error
from .files import FilesUnit, FileTask, Prepared, format_of, left_alone, prove, reason_of_link, same_bytes, skipped
from .storage import exists, link_of
from .tally import Tally
from .work import Advance, Outcome, Waiting, ignore


class ProvingUnit(FilesUnit):
    """Files of both sides that are proved one after the other."""

    def run(self, advance: Advance = ignore, _waiting: Waiting = contextlib.nullcontext) -> list[Outcome]:
        return [Outcome(task.key, "", self._proved(task, advance)) for task in self.tasks]

    def _proved(self, task: FileTask, advance: Advance) -> Tally:
        if task.is_link:
            return _link_proved(task)
        missing = [target for target in task.targets if not exists(target)]
        if missing:
            return skipped(task.sources[0], f"{missing[0]} is missing")
        prepared = Prepared(task, dataclasses.replace(self.settings, dry_run=True), Tally())
        try:
            form = self.formats.get(task.key) or format_of(task, self.settings)
            prepared.recode(advance, form)
            prove(form, task.sources, task.targets, prepared.tally, self.settings, advance)
        except UnsupportedArchiveError as error:
            return self._same(task, left_alone(error.message))
        except ArchiveError:
            raise
        except RestorationError as error:
            return skipped(task.sources[0], f"{task.targets[0]} does not restore it: {error.message}", error.offset)
        except XEP419Error as error:
            return self._same(task, skipped(task.sources[0], error.message, error.offset))
        return prepared.tally

    def _same(self, task: FileTask, tally: Tally) -> Tally:
        """What was left as it was must be the same on both sides."""
        for source, target in zip(task.sources, task.targets, strict=True):
            if not same_bytes(source, target):
                return skipped(task.sources[0], f"{target} differs from it, though it could not be re-encrypted")
        return tally


def _link_proved(task: FileTask) -> Tally:
    """A link must lead to where the source's does."""
    source, target = task.sources[0], task.targets[0]
    if target.is_local and link_of(target) != link_of(source):
        return skipped(source, f"{target} is not the same symbolic link")
    return left_alone(reason_of_link(task))
