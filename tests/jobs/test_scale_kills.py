"""Random kills of all processes of several machines: nothing is lost, doubled or left behind."""

from pathlib import Path

import pytest

from bench import scale_kills

SEED, JOBS, KILLS = 20261, 40, 12


@pytest.mark.postgres
@pytest.mark.s3
@pytest.mark.slow
def test_no_job_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    outcome = scale_kills.run(tmp_path, JOBS, KILLS, SEED)
    assert outcome.problems == [], outcome.lines()
    assert outcome.kills.total() == KILLS and outcome.deliveries >= JOBS
