"""An image of the reader's own, looked at with a detector: its boxes are the targets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import retroscope as rs
from retroscope.web.live.live_routes import live_routes
from retroscope.web.server import make_app
from retroscope.web.site.site import make_site
from tests.methods.localisers import LABELS, faster_rcnn, network
from tests.scanning.scans import write_images
from tests.web.test_image_analyses import analyze, shown


@pytest.fixture(scope="module")
def detector() -> rs.Network:
    return rs.Network(network(faster_rcnn).module.float(), labels=LABELS, name="detector")


@pytest.fixture(scope="module")
def client(detector: rs.Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("detector")
    images, to = write_images(folder / "photos", 2), folder / "net.atlas"
    with rs.scan(detector, images, to=to, layers=["backbone.body.3"], top=1) as atlas:
        site = make_site(atlas)
        app = make_app(site, routes=live_routes(site, detector))
        yield TestClient(app, base_url="http://localhost")


def test_boxes_are_listed_and_explained(
    client: TestClient, detector: rs.Network, mine: Path
) -> None:
    found = analyze(client, mine.read_bytes(), "overview")
    (predictions,) = (facts["predictions"] for facts in found if "predictions" in facts)
    expected = rs.explain(detector, mine, top=1, contrast=False).predictions
    assert [facts["target"] for facts in predictions] == [str(one.target) for one in expected]
    for facts in predictions[:2]:
        (answer,) = analyze(client, mine.read_bytes(), "cam", target=facts["spec"])
        assert answer["target"] == facts["target"]
        assert answer["box"] == facts["box"]
        assert shown(answer["image"]).shape == (*detector.prepare(mine).size, 3)


@pytest.mark.parametrize("target", ["dog", "box:2", 'output[0]["scores"][1]', " box:1 "])
def test_typed_targets_are_those_of_the_library(
    client: TestClient, detector: rs.Network, mine: Path, target: str
) -> None:
    (answer,) = analyze(client, mine.read_bytes(), "cam", target=target)
    expected = rs.cam(detector, mine, target=target.strip())
    assert (answer["target"], answer["method"]) == (str(expected.target), "layercam")
    assert answer["score"] == pytest.approx(expected.score)
    (occluded,) = analyze(client, mine.read_bytes(), "occlusion", target=target)
    measure = "score" if "output" in target else "probability"
    assert f": drop in {measure} under" in occluded["title"]


@pytest.mark.parametrize("target", ["cat@/etc/passwd", "cat@mask.png", "box:1\n", "@", "a" * 201])
def test_targets_that_might_name_a_file_are_refused(
    client: TestClient, mine: Path, target: str
) -> None:
    query = {"analysis": "cam", "target": target}
    answer = client.post("/analyze", params=query, content=mine.read_bytes())
    assert answer.status_code == 400
    assert "is not a target here; give a class, box:N, CLASS@Y,X or output[...]" in answer.text


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("-1", "no class -1 in detector"),
        ("box:0", "no box 0: boxes are numbered from 1, classes from 0"),
        ("output[0", "a path has a key or an index in each pair of brackets"),
    ],
)
def test_a_target_that_is_not_there_is_refused_in_one_line(
    client: TestClient, mine: Path, target: str, says: str
) -> None:
    query = {"analysis": "cam", "target": target}
    answer = client.post("/analyze", params=query, content=mine.read_bytes())
    assert answer.status_code == 400
    assert says in answer.json()["error"]
