"""Every test runs once for every instruction set this machine can run, and each run asserts that it took effect.

Forcing is process-wide, so it lives here and nowhere else; do not run these tests in parallel in one process. With
``XEP419_ISA=python`` the same tests run against the pure-Python twin. Markers say what need not be repeated: ``core`` for
tests of the compiled core, skipped there; ``any_isa`` for those that no instruction set changes, run once; ``outer`` for
those of what stands above the core, left out in pure Python and under sanitizers; ``any_python`` for those that no
interpreter changes, left out on others than that of ``make test``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import xep419

ISAS = xep419.available_isas()
#: files whose tests start processes or reach disks, networks and clusters: what stands below them is tested elsewhere in
#: pure Python and under sanitizers
OUTER = frozenset(
    f"test_{name}"
    for name in (
        *("archive_kills", "archive_storage", "archive_stragglers", "audit_command", "cli", "cli_archive", "cli_pins"),
        *("cli_registry", "dask", "databases", "pin_store", "probe", "speed", "srv"),
    )
)
#: an example's time depends on what else the machine does; a profile on the command line replaces this one
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
RECORDED = Path(__file__).parent.parent / "examples" / "recorded"


def pytest_report_header() -> str:
    return f"xep419 {xep419.__version__}, instruction sets: {', '.join(ISAS)}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fastest-only", action="store_true", help="run on the fastest instruction set alone")


def pytest_configure(config: pytest.Config) -> None:
    wanted = os.environ.get("XEP419_EXPECT_ISAS")
    if wanted and tuple(wanted.split(",")) != ISAS:
        raise pytest.UsageError(f"these tests must run on {wanted}, but {', '.join(ISAS)} are what there is")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    once = metafunc.definition.get_closest_marker("any_isa") or metafunc.config.getoption("--fastest-only")
    metafunc.parametrize("isa", ISAS[-1:] if once else ISAS, indirect=True, scope="function")


@pytest.fixture(autouse=True)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The instruction set the test runs on, forced and asserted."""
    if request.param == "python":
        assert xep419.isa == "python"
        yield "python"
        return
    from xep419._core import isa as core

    before = xep419.isa
    core.force(request.param)
    assert xep419.isa == request.param
    yield request.param
    core.force(before)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in OUTER:
            item.add_marker("outer")
    if "interop" not in config.getoption("markexpr"):  # servers are started only for who asks for them
        left_out = [item for item in items if item.get_closest_marker("interop")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("interop")]
    if ISAS == ("python",):
        for item in items:
            if item.get_closest_marker("core"):
                item.add_marker(pytest.mark.skip(reason="needs the compiled core"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The corpus beside a development checkout; a public checkout has none."""
    found = Path(__file__).parent.parent.parent / "shared"
    if not found.is_dir():
        pytest.skip("the shared corpus is not in a public checkout")
    return found


@pytest.fixture(scope="session")
def recorded() -> list[bytes]:
    """Recorded sessions with a real server: one direction of one connection each, two documents in each."""
    return [path.read_bytes() for path in sorted(RECORDED.glob("*.xml"))]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of xmpp.test and ejab.test, with its key, in one PEM file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("certificate")
    key, pem = directory / "key", directory / "pem"
    request = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=xmpp.test".split()
    names = ("-addext", "subjectAltName=DNS:xmpp.test,DNS:ejab.test")
    subprocess.run([*request, *names, "-keyout", key, "-out", pem], check=True, capture_output=True)
    with pem.open("a") as both:
        both.write(key.read_text())
    return pem
