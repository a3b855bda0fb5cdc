"""SQL that cuts a copy of an atlas down to some of its channels."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from retroscope.atlas.schema import Json

_TABLES_BY_CHANNEL = (
    *("hits", "class_hits", "samples", "class_stats"),
    *("projections", "patterns", "numbers", "names"),
)
"""Of a layer that is kept, the statistics of all channels stay in table `channels`."""


def delete_other_channels(
    connection: sqlite3.Connection, channels: Mapping[str, Sequence[int]]
) -> None:
    """Deletes all layers but these, all their hits but those of these channels, and all images but
    those of the hits.
    """
    connection.execute("CREATE TEMP TABLE kept_images (image INTEGER PRIMARY KEY)")
    connection.execute("CREATE TEMP TABLE kept_layers (layer INTEGER PRIMARY KEY)")
    connection.execute(
        "CREATE TEMP TABLE kept_channels (layer INTEGER, channel INTEGER, "
        "PRIMARY KEY (layer, channel))"
    )
    for name, numbers in channels.items():
        (layer,) = connection.execute("SELECT id FROM layers WHERE name = ?", (name,)).fetchone()
        connection.execute("INSERT INTO kept_layers VALUES (?)", (layer,))
        rows = ((layer, channel) for channel in numbers)
        connection.executemany("INSERT INTO kept_channels VALUES (?, ?)", rows)
    existing = _existing_tables(connection)
    for table in existing.intersection(_TABLES_BY_CHANNEL):
        connection.execute(
            f"DELETE FROM {table} WHERE (layer, channel) NOT IN kept_channels"  # noqa: S608 - ours
        )
    connection.execute("DELETE FROM channels WHERE layer NOT IN kept_layers")
    connection.execute("DELETE FROM layers WHERE id NOT IN kept_layers")
    for table in existing.intersection(("hits", "class_hits")):
        connection.execute(f"INSERT OR IGNORE INTO kept_images SELECT image FROM {table}")  # noqa: S608
    connection.execute("DELETE FROM winner_pictures WHERE image NOT IN kept_images")


def put_fact(connection: sqlite3.Connection, key: str, fact: Json) -> None:
    """Records a fact about the scan."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(fact)))


def _existing_tables(connection: sqlite3.Connection) -> set[str]:
    """An older atlas lacks some tables."""
    rows = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
    return {name for (name,) in rows.fetchall()}
