"""A job that is killed at any instant resumes to the result of an uninterrupted one; no space and no permission."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.any_isa,
    pytest.mark.any_python,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork"),
]

KILL_RUNS = Path(__file__).with_name("kill_runs.py")


def test_killed_jobs_resume(tmp_path: Path) -> None:
    command = [sys.executable, str(KILL_RUNS), str(tmp_path), "200", "419"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["faults"] == []
    assert result["runs"] == 200
    assert result["killed"]["files"] > 40  # the others had ended by then
    assert result["killed"]["database"] > 15
