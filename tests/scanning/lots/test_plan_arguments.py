"""What `make_plan` is given that is not what it takes."""

from pathlib import Path
from typing import Any

import pytest

from retroscope.errors import RetroscopeError
from tests.scanning.lots.planning import plan


@pytest.mark.parametrize("opened", ["resnet50", 3, {"model": "resnet50"}])
def test_how_workers_open_the_network_is_a_network_source(
    photos: Path, tmp_path: Path, opened: Any
) -> None:
    with pytest.raises(RetroscopeError) as caught:
        plan(photos, tmp_path / "p.plan", opened=opened)
    assert str(caught.value) == (
        "opened of make_plan() is a NetworkSource, such as NetworkSource.named('resnet50'), not "
        f"{type(opened).__name__}"
    )
    assert not (tmp_path / "p.plan").exists()
