"""Draw the README's plates from the demo's atlas: `python tools/pictures.py demo docs/images`.

They are those of the units that show a known part most clearly, by `find_part_detectors`.
"""

import sys
from pathlib import Path

import retroscope as rs
from retroscope.demo_atlas import find_part_detectors


def main(home: Path, target: Path) -> None:
    with rs.open_atlas(home / "demo.atlas") as atlas:
        for number, detector in enumerate(find_part_detectors(atlas), 1):
            path = target / f"telling-{number}.png"
            rs.draw(atlas[detector.unit]).save(path)
            print(f"{path}: {detector.unit} shows {detector.part} in {', '.join(detector.classes)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
