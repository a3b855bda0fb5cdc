"""A scan projects the best hits for some time, and says how many it leaves for later."""

import pytest

import retroscope as rs
from retroscope.cli.estimate_lines import describe_projections
from retroscope.scanning.estimate import ScanEstimate
from tests.cli.atlas.making import SCANNED, count
from tests.cli.terminal import Retroscope


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (30, "30 s for up to 2,160 projections"),
        (
            36_000,
            "2 min for the best of up to 2,160 projections, which would all take 10 h",
        ),
    ],
)
def test_the_estimate_says_when_projecting_stops(seconds: float, expected: str) -> None:
    estimate = ScanEstimate(
        images=12,
        channels=120,
        pass_seconds=5.0,
        projection_seconds=seconds,
        memory_bytes=1,
        disk_bytes=1,
        projections=2160,
        max_projection_seconds=120.0,
    )
    assert describe_projections(estimate) == expected


def test_a_scan_says_how_many_projections_it_left_for_later(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("retroscope.scanning.job.time_for_projections", lambda _: 0.0)
        said = retroscope(*SCANNED)
    with rs.open_atlas("new.atlas") as atlas:
        query = "SELECT DISTINCT layer, channel, image, y, x FROM hits"
        hits = len(atlas.sql(f"{query} WHERE ranked_by IN ('max', 'mean')"))
    assert f"0 of {hits} hits have a projection" in said.err
    assert "retroscope illustrate new.atlas MODEL" in said.err
    assert count("projections") == 0
    again = retroscope(*SCANNED)
    assert again.status == 0
    assert "hits have a projection" not in again.err
    assert count("projections") == hits
