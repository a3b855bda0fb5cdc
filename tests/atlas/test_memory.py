"""What a writer remembers of what it has written."""

import subprocess
import sys
from pathlib import Path

import pytest

WRITER = """
import os, sys
from pathlib import Path
from retroscope.atlas.queries.table_rows import StoredImageRow
from retroscope.atlas.writer import AtlasWriter

def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

with AtlasWriter(Path(sys.argv[1])) as writer:
    with writer.transaction():
        writer.put_images([str(number) for number in range(60)])
    for number in range(60):
        with writer.transaction():
            writer.put_stored_images([StoredImageRow(number, bytes(1_000_000))])
        if number == 9:
            before = resident_bytes()
    print(resident_bytes() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_images_that_are_stored(tmp_path: Path) -> None:
    """Fifty megabytes in fifty transactions."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.atlas")]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(process.stdout) < 10_000_000
