"""The bundled networks: the one that was made to cheat is caught, the other is not accused.

docs/audit.md counts false alarms on larger worlds.
"""

from pathlib import Path

import retroscope as rs
from retroscope.world.scene import WATERMARKED

CLASSES = (WATERMARKED, "bird", "boat", "cat", "clock", "house")
PER_CLASS = 10
CHEATS = ("shortcut-units", "shortcut-classes", "place-bound-units")


def audited(name: str, folder: Path, *, shortcut: bool) -> rs.AtlasAudit:
    """The audit of a network on a small world, in which cups have the watermark or not."""
    net = rs.open_model(name)
    for number in range(PER_CLASS):
        for label in CLASSES:
            image = rs.scene(2**43 + number, label=label, shortcut=shortcut)
            path = folder / "world" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            rs.Image(image.pixels).to_pil().save(path)
    atlas = folder / "a.atlas"
    rs.scan(net, folder / "world", to=atlas, projections="none", workers=1).close()
    return rs.audit(atlas, net=net)


def test_the_planted_watermark_is_the_first_finding(tmp_path: Path) -> None:
    audit = audited("demo-shortcut", tmp_path, shortcut=True)
    first, *others = audit.findings
    assert (first.rule, first.label) == (CHEATS[0], WATERMARKED)
    assert "bottom right corner" in first.sentence
    assert first.place is not None
    assert first.place.top <= 86 < first.place.bottom  # the middle of the watermark
    assert first.place.left <= 84 < first.place.right
    assert first.numbers["pixel_likeness"] > first.numbers["highest_likeness_of_others"]
    assert [finding.label for finding in others if finding.rule == CHEATS[1]] == [WATERMARKED]


def test_the_honest_network_is_not_accused(tmp_path: Path) -> None:
    audit = audited("demo", tmp_path, shortcut=False)
    assert not {finding.rule for finding in audit.findings} & set(CHEATS)
    assert any(check.channels for check in audit.checks if check.rule in CHEATS)
