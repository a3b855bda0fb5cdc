"""Classes by their labels, and by the synonyms in these."""

import pytest

from retroscope.results.class_names import classes_named, split_class_names

LABELS = ["tabby, tabby cat", "dog", "crane, bird", "Crane, machine", "Cat", "cat"]


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("tabby, tabby cat", [0]),
        ("TABBY CAT", [0]),
        ("crane", [2, 3]),
        ("cat", [5]),
        ("CAT", [4, 5]),
        ("tab", []),
        ("", []),
    ],
)
def test_a_class_is_named_by_its_label_or_by_a_synonym(name: str, classes: list[int]) -> None:
    assert classes_named(LABELS, name) == classes


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("dog", ["dog"]),
        ("dog,cat", ["dog", "cat"]),
        ("tabby, tabby cat", ["tabby, tabby cat"]),
        ("dog,tabby, tabby cat,crane, bird", ["dog", "tabby, tabby cat", "crane, bird"]),
        ("tabby,dog", ["tabby", "dog"]),
        ("tabby, wolf", ["tabby", "wolf"]),
        (" , ,", []),
    ],
)
def test_commas_separate_names_unless_a_label_contains_them(text: str, names: list[str]) -> None:
    assert split_class_names(text, LABELS) == names


def test_every_label_is_a_list_of_itself() -> None:
    for label in [*LABELS, " odd ", "a,", ",", "a, b"]:
        assert split_class_names(label, [*LABELS, " odd ", "a,", ",", "a, b"]) == [label]
