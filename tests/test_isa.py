"""The choice of an instruction set, what importing the package costs, and what its errors are.

The choice is made once, at import, by ``XEP419_ISA``, so most of this happens in new processes. What the instruction
sets compute is every other module's subject. No absolute times here: a heavy import shows in ``sys.modules``.
"""

from __future__ import annotations

import copy
import os
import pickle
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import xep419
from xep419 import errors

pytestmark = pytest.mark.any_isa

PACKAGE_ROOT = Path(xep419.__file__).parent.parent
#: all there are, slowest first; a machine has a choice of these
VECTORS = ("sse2", "avx2", "avx512", "neon")

REPORT = "import xep419; print(xep419.isa, *xep419.available_isas())"


def run(program: str, isa: str | None, *options: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter with ``XEP419_ISA`` set (or not) that can import the package under test."""
    environment = {key: value for key, value in os.environ.items() if key != "XEP419_ISA"}
    if isa is not None:
        environment["XEP419_ISA"] = isa
    return subprocess.run(
        [sys.executable, *options, "-c", f"import sys; sys.path.insert(0, {str(PACKAGE_ROOT)!r})\n{program}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def report(isa: str | None) -> tuple[str, tuple[str, ...]]:
    """The instruction set in use, and those available."""
    done = run(REPORT, isa)
    assert (done.returncode, done.stderr) == (0, "")
    used, *available = done.stdout.split()
    return used, tuple(available)


@pytest.fixture(scope="module")
def available() -> tuple[str, ...]:
    """What this machine can run, whatever ``XEP419_ISA`` says in this process."""
    return report(None)[1]


# -- the choice -------------------------------------------------------------------------------------------


def test_available_isas_are_ordered_slowest_first(available: tuple[str, ...]) -> None:
    if available == ("python",):
        return  # a build without extensions
    assert available[0] == "scalar"
    assert available[1:] == tuple(name for name in VECTORS if name in available)
    assert "sse2" in available or "neon" in available or len(available) == 1
    assert not {"sse2", "neon"} <= set(available)


def test_available_isas_are_what_the_processor_has(available: tuple[str, ...]) -> None:
    """As the kernel lists its features; the package asks CPUID and XCR0 itself."""
    listing = Path("/proc/cpuinfo")
    readable = platform.machine() == "x86_64" and listing.exists()
    flags = listing.read_text().split("flags", 1) if readable else []
    if len(flags) < 2 or available == ("python",):
        pytest.skip("no list of the processor's features, or no compiled core")
    features = set(flags[1].split("\n", 1)[0].split())
    with_avx2 = {"avx2", "bmi1", "bmi2", "popcnt"} <= features and bool({"abm", "lzcnt"} & features)
    with_avx512 = with_avx2 and {"avx512f", "avx512bw", "avx512vl", "avx512vbmi"} <= features
    assert available == ("scalar", "sse2", *["avx2"] * with_avx2, *["avx512"] * with_avx512)


def test_the_fastest_is_used_unless_told_otherwise(available: tuple[str, ...]) -> None:
    assert report(None) == (available[-1], available)


def test_an_empty_name_is_no_name(available: tuple[str, ...]) -> None:
    assert report("") == (available[-1], available)


def test_each_available_isa_can_be_forced(available: tuple[str, ...]) -> None:
    for isa in available:
        assert report(isa) == (isa, available)


def test_a_forced_isa_is_the_one_that_works(available: tuple[str, ...]) -> None:
    program = """
import xep419
stanza = "<iq xmlns='http://x' to='\\u00df'>" + "<feature var='urn:xmpp:ping'/>" * 40 + "</iq>"
print(xep419.isa, xep419.encrypt(stanza) == stanza.replace("http:", "https:").replace("urn:xmpp:", "urn:xmpps:"))
print(xep419.rot13("Hey, Lucas! " * 40) == "Url, Yhpnf! " * 40)
"""
    for isa in {*available, "python"}:
        done = run(program, isa)
        assert (done.stdout, done.stderr) == (f"{isa} True\nTrue\n", "")


def test_the_pure_twin_can_be_forced_and_then_is_all_there_is() -> None:
    assert report("python") == ("python", ("python",))
    done = run("import sys, xep419; print([name for name in sys.modules if name.startswith('xep419._core')])", "python")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", ["sse4", "AVX2", "Python", " scalar", "scalar,", "0"])
def test_an_unknown_name_is_an_error_that_lists_the_choices(name: str, available: tuple[str, ...]) -> None:
    expect_refusal(name, available)


def test_an_isa_that_this_machine_lacks_is_an_error_that_lists_the_choices(available: tuple[str, ...]) -> None:
    missing = [name for name in VECTORS if name not in available]
    assert missing  # no machine has all
    for name in missing:
        expect_refusal(name, available)


def expect_refusal(name: str, available: tuple[str, ...]) -> None:
    done = run(REPORT, name)
    if available == ("python",):
        expected = f"instruction set {name!r} is not available in a build without extensions: choose 'python'"
    else:
        choices = ", ".join(map(repr, (*available, "python")))
        expected = f"instruction set {name!r} is not available here: choose one of {choices}"
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == f"ImportError: {expected}"


def test_isa_is_read_only() -> None:
    before = xep419.isa
    with pytest.raises(AttributeError):
        xep419.isa = "scalar"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del xep419.isa
    assert xep419.isa == before
    assert xep419.isa in xep419.available_isas()


def test_what_is_available_is_a_new_tuple_of_names() -> None:
    assert type(xep419.available_isas()) is tuple
    assert {type(name) for name in xep419.available_isas()} == {str}
    assert xep419.available_isas() == xep419.available_isas()


# -- the package ------------------------------------------------------------------------------------------


def test_every_public_name_is_there_and_listed_once() -> None:
    assert sorted(set(xep419.__all__)) == sorted(xep419.__all__)
    for name in xep419.__all__:
        assert getattr(xep419, name) is not None
    namespace: dict[str, object] = {}
    exec("from xep419 import *", namespace)
    assert set(xep419.__all__) <= set(namespace)


def test_an_unknown_attribute_is_named() -> None:
    with pytest.raises(AttributeError, match=r"^module 'xep419' has no attribute 'isas'$"):
        xep419.isas  # type: ignore[attr-defined]  # noqa: B018


#: modules of the standard library that the package does not need: each would cost every user
HEAVY = {
    "argparse", "asyncio", "concurrent", "csv", "ctypes", "dataclasses", "datetime", "decimal", "email", "gzip",
    "hashlib", "http", "importlib.metadata", "importlib.resources", "inspect", "json", "logging", "multiprocessing",
    "pathlib", "pickle", "platform", "pyexpat", "random", "selectors", "shutil", "socket", "sqlite3", "ssl", "string",
    "subprocess", "tempfile", "threading", "traceback", "typing", "unittest", "urllib", "xml", "zipfile",
}  # fmt: skip


@pytest.mark.parametrize("forced", [None, "python"])
def test_importing_the_package_loads_little(forced: str | None) -> None:
    """Nothing of third parties, nothing heavy of the standard library, and of the package only what all need."""
    program = "before = set(sys.modules)\nimport xep419\nprint(*sorted(set(sys.modules) - before))"
    done = run(program, forced, "-S", "-I")
    assert (done.returncode, done.stderr) == (0, "")
    loaded = set(done.stdout.split())
    assert not loaded & HEAVY
    others = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    own = {name for name in others if name.partition(".")[0] == "xep419"}
    assert all(name.startswith(("cython_runtime", "_cython_")) for name in others - own)
    optional = {"stanza", "policy", "cli", "archive", "integrations", "_codecs", "__main__", "_types"}
    assert not optional & {name.split(".")[1] for name in own if "." in name}


def test_importing_the_package_starts_no_thread_and_changes_no_warnings_or_signals() -> None:
    program = """
import signal, threading, warnings
before = (threading.active_count(), list(warnings.filters), [signal.getsignal(s) for s in signal.valid_signals()])
import xep419
after = (threading.active_count(), list(warnings.filters), [signal.getsignal(s) for s in signal.valid_signals()])
print(before == after)
"""
    assert run(program, None).stdout == "True\n"


# -- errors -----------------------------------------------------------------------------------------------

#: every error and the built-in ones it is, beside XEP419Error
ERRORS = {
    errors.MalformedXMLError: {ValueError},
    errors.RestrictedXMLError: set(),
    errors.RestorationError: {ValueError},
    errors.LimitExceededError: set(),
    errors.EncodingError: {ValueError},
    errors.PartialEncryptionError: set(),
    errors.InsecureNamespaceError: set(),
    errors.UnknownNamespaceError: {LookupError},
    errors.ResolutionError: set(),
    errors.LinkError: set(),
    errors.ArchiveError: set(),
    errors.CorruptArchiveError: {ValueError},
    errors.UnsupportedArchiveError: {ValueError},
    errors.MalformedJIDError: {ValueError},
    errors.PinFormatError: {ValueError},
    errors.PinStoreError: set(),
}
BUILT_IN = {
    ArithmeticError,
    BufferError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
}


def test_the_table_of_errors_is_complete() -> None:
    defined = {
        value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert defined == {*ERRORS, errors.XEP419Error}
    assert {name for name in xep419.__all__ if name.endswith("Error")} == {error.__name__ for error in defined}


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_derives_from_the_right_ones(error: type[errors.XEP419Error]) -> None:
    assert issubclass(error, errors.XEP419Error)
    assert {builtin for builtin in BUILT_IN if issubclass(error, builtin)} == ERRORS[error]
    assert getattr(xep419, error.__name__) is error


@pytest.mark.parametrize("error", [errors.XEP419Error, *ERRORS])
@pytest.mark.parametrize("offset", [None, 0, 5, 2**40])
def test_errors_keep_message_and_offset_through_copies_and_pickles(
    error: type[errors.XEP419Error], offset: int | None
) -> None:
    raised = error("expected this, got that", offset=offset)
    assert raised.message == "expected this, got that"
    assert raised.offset == offset
    assert str(raised) == "expected this, got that" + (f" (at byte {offset})" if offset is not None else "")
    pickles = [pickle.dumps(raised, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in (*map(pickle.loads, pickles), copy.copy(raised), copy.deepcopy(raised)):
        assert type(again) is error
        assert (str(again), again.args, again.message, again.offset) == (
            str(raised), raised.args, raised.message, raised.offset,
        )  # fmt: skip


def test_an_error_that_the_package_raises_survives_a_pickle() -> None:
    with pytest.raises(errors.EncodingError) as info:
        xep419.upgrade("<a/>".encode("utf-16"))
    again = pickle.loads(pickle.dumps(info.value))
    assert (str(again), again.offset) == (str(info.value), 0)
    with pytest.raises(errors.LimitExceededError) as limit:
        xep419.Encryptor(max_markup=10).update("<a>xy<b c='0123456789")
    again = pickle.loads(pickle.dumps(limit.value))
    assert (str(again), again.offset) == (str(limit.value), 5)


def test_errors_keep_attributes_that_were_added() -> None:
    raised = errors.RestrictedXMLError("a comment", offset=3)
    raised.stream = "s2c"  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(raised))
    assert again.stream == "s2c"


def test_the_offset_is_a_keyword() -> None:
    with pytest.raises(TypeError):
        errors.XEP419Error("message", 5)  # type: ignore[misc]
