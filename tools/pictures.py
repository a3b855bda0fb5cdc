"""Draws the README's pictures from the demo's atlas: `python tools/pictures.py demo docs/images`.

The units are chosen by `telling`: those whose nine projections agree most on one known part, each
of another part.
"""

import sys
from pathlib import Path

import retroscope as rs
from retroscope.demo_atlas import find_part_detectors


def main(home: Path, target: Path) -> None:
    with rs.open_atlas(home / "demo.atlas") as atlas:
        for number, one in enumerate(find_part_detectors(atlas), 1):
            path = target / f"telling-{number}.png"
            rs.draw(atlas[one.unit]).save(path)
            print(f"{path}: {one.unit} shows {one.part} in {', '.join(one.classes)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
