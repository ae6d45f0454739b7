"""The reader takes 5,000 frames of the capture's shape a second, as bench/load.py measures it."""

import json
import subprocess
import sys

from conftest import ROOT, needs_shared


@needs_shared
def test_five_thousand_frames_a_second_for_ten_seconds_are_read_without_a_loss() -> None:
    command = [sys.executable, "load.py", "--rate", "5000", "--seconds", "10"]
    done = subprocess.run(command, cwd=ROOT / "bench", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["frames"] == 50_000 and found["lost"] == [] and found["closings"] == {}
    assert found["refused"] == {} and found["gaps"] == 0
    assert found["rows"] > 40_000
