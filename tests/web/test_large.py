"""An atlas of 30,000 channels, as a network of the usual size has."""

import resource
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from retroscope.atlas.schema import Value
from retroscope.web.server import make_app
from retroscope.web.site.site import Site, make_site
from tests.web.conftest import Looks, Serves
from tests.web.sample_atlases import large_atlas


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with large_atlas(tmp_path_factory.mktemp("large") / "large.atlas") as atlas:
        assert len(atlas) == 30_000
        yield make_site(atlas)


def test_the_work_for_a_unit_does_not_grow_with_the_atlas(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No question for the page of a unit has more rows than a plate and its like have."""
    client = TestClient(make_app(site), base_url="http://localhost")
    client.get("/unit/layer.7/1000.html")
    rows: list[int] = []
    run_query = site.atlas._connection.sql

    def count_rows(query: str, *values: Value, **options: float) -> list[tuple[object, ...]]:
        answer = run_query(query, *values, **options)
        rows.append(len(answer))
        return answer

    monkeypatch.setattr(site.atlas._connection, "sql", count_rows)
    assert client.get("/unit/layer.7/1234.html").status_code == 200
    assert max(rows) <= 100
    assert len(rows) < 70


def test_the_memory_of_the_server_stays_flat(site: Site) -> None:
    """What ten layers leave behind is not more than what the first two do."""
    client = TestClient(make_app(site), base_url="http://localhost")

    def read(layers: range) -> int:
        for layer in layers:
            client.get(f"/layer/layer.{layer}.html")
            client.get(f"/layer/layer.{layer}.js")
            for channel in range(0, 2000, 250):
                client.get(f"/unit/layer.{layer}/{channel}.html")
                client.get(f"/plate/layer.{layer}/{channel}.max.patches.webp")
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = read(range(3))
    after = read(range(3, 13))
    assert after < before * 1.05


def test_a_layer_of_two_thousand_channels_draws_few_of_them(
    site: Site, look: Looks, serve: Serves
) -> None:
    address = serve(make_app(site))
    page = look(f"{address}layer/layer.3.html", viewport={"width": 1280, "height": 900})
    page.wait_for_selector("[aria-setsize='2000']")
    assert page.locator(".plate").count() < 700
    page.select_option("[name=sort]", "score")
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    page.wait_for_selector(".plate[data-channel]")
    assert page.locator(".plate").count() < 700
    heights = page.evaluate("document.body.scrollHeight")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_selector(".plate[aria-posinset='2000']")
    assert abs(page.evaluate("document.body.scrollHeight") - heights) < 100
