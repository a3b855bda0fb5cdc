"""Which pictures a source names, in which order, and of which class."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset

from retroscope.errors import ImageError, RetroscopeError
from retroscope.scanning.sources import ImageList, list_images


def touch_files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


class Items(Dataset[object]):
    """A data set without classes."""

    def __init__(self, *items: object) -> None:
        self.items = items

    def __getitem__(self, index: int) -> object:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


class Broken(Items):
    """A data set whose first file is no picture."""

    def __getitem__(self, index: int) -> object:
        if index == 0:
            raise PIL.UnidentifiedImageError("cannot identify image file 'a.jpg'")
        return self.items[index]


def test_a_folder_is_read_with_all_below_it_in_the_order_of_names(tmp_path: Path) -> None:
    touch_files(tmp_path, "b.JPG", "a/z.png", "a/b/c.webp", "a/notes.txt", "c.gif/x.bmp")
    found = list_images(tmp_path)
    assert found.keys == [os.path.join("a", "b", "c.webp"), "a/z.png", "b.JPG", "c.gif/x.bmp"]  # noqa: PTH118
    assert [found.class_names[label] if label >= 0 else None for label in found.labels] == [
        "a",
        "a",
        None,
        "c.gif",
    ]
    assert found.load(2) == str(tmp_path / "b.JPG")


def test_a_glob_chooses_files_whatever_they_end_in(tmp_path: Path) -> None:
    touch_files(tmp_path, "a.jpg", "b.dat", "c/d.dat")
    assert list_images(tmp_path, glob="*.dat").keys == ["b.dat", "c/d.dat"]
    with pytest.raises(ImageError, match=r"no file in .* matches"):
        list_images(tmp_path, glob="*.png")


@pytest.mark.parametrize("glob", ["/etc/*", "**.jpg"])
def test_a_glob_that_makes_no_sense_is_refused(tmp_path: Path, glob: str) -> None:
    touch_files(tmp_path, "a.png")
    with pytest.raises(RetroscopeError):
        list_images(tmp_path, glob=glob)


def test_a_list_names_files_beside_it_in_its_own_order(tmp_path: Path) -> None:
    listing = tmp_path / "lists" / "mine.txt"
    touch_files(tmp_path, "lists/mine.txt")
    listing.write_text(f"z.jpg\n\n  cat/a.jpg  \n{tmp_path}/far/b.jpg\n../up/c.jpg\nmissing\n")
    found = list_images(listing)
    assert found.keys[:3] == ["z.jpg", "cat/a.jpg", f"{tmp_path}/far/b.jpg"]
    assert found.load(1) == str(tmp_path / "lists" / "cat" / "a.jpg")
    assert found.class_names == ["cat"]
    assert found.labels == [-1, 0, -1, -1, -1]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xd8\xff\xe0 a photo"])
def test_an_invalid_list_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        list_images(tmp_path / "list")
    assert "\n" not in str(caught.value)


def test_a_list_of_paths_is_read_as_the_same_list_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["b/x.png", "a/y.jpg", str(tmp_path / "z.png"), "../w.png", "a/any.thing"]
    (tmp_path / "list.txt").write_text("\n".join(names))
    monkeypatch.chdir(tmp_path)
    written = list_images("list.txt")
    for given in (names, tuple(map(Path, names))):
        found = list_images(given)
        assert [found.load(n) for n in range(5)] == [written.load(n) for n in range(5)]
        assert (found.labels, found.class_names) == (written.labels, written.class_names)
    assert list(found.keys[:2]) == names[:2]
    labels = tmp_path / "labels.csv"
    labels.write_text("b/x.png,first\n")
    assert list_images(names, labels=labels).class_names == ["first"]


def test_an_invalid_list_of_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="the list of images is empty"):
        list_images([])
    with pytest.raises(RetroscopeError, match="a list names its files; leave glob out"):
        list_images(["a.png"], glob="*.png")
    with pytest.raises(RetroscopeError, match="cannot scan generator; give a folder, a li"):
        list_images(tmp_path.glob("*.png"))  # type: ignore[arg-type]


def test_a_folder_without_images_says_which_endings_are_images(tmp_path: Path) -> None:
    touch_files(tmp_path, "notes.txt")
    with pytest.raises(ImageError) as caught:
        list_images(tmp_path)
    assert all(f" {suffix}" in str(caught.value) for suffix in (".jpg", ".png", ".webp", ".heic"))
    (tmp_path / "list.txt").touch()
    with pytest.raises(ImageError, match="the list is empty, write a path on each line"):
        list_images(tmp_path / "list.txt")


@pytest.mark.parametrize("name", ["cat.jpg", "CAT.PNG", "scan.tif"])
def test_a_single_image_is_not_taken_for_a_list(tmp_path: Path, name: str) -> None:
    path = touch_files(tmp_path, name) / name
    with pytest.raises(ImageError, match=r"is a single image; a scan takes a folder, an archive"):
        list_images(path)


def test_a_missing_label_file_is_refused_with_its_format(tmp_path: Path) -> None:
    touch_files(tmp_path, "a.png")
    with pytest.raises(RetroscopeError) as caught:
        list_images(tmp_path, labels="nope.csv")
    said = "cannot read the labels 'nope.csv' (No such file or directory); give a CSV file with"
    assert str(caught.value).startswith(said)


def test_an_empty_folder_and_none_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images in"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="no folder or list"):
        list_images(tmp_path / "nothing")


def test_a_table_gives_classes_by_path_or_by_name(tmp_path: Path) -> None:
    touch_files(tmp_path, "a/1.png", "a/2.png", "b/1.png", "3.png")
    table = tmp_path / "t.csv"
    table.write_text("a/1.png,x,more\n2.png,y\n\nb/1.png,x\n")
    found = list_images(tmp_path, labels=table)
    assert found.class_names == ["x", "y"]
    assert dict(zip(found.keys, found.labels, strict=True)) == {
        "3.png": -1,
        "a/1.png": 0,
        "a/2.png": 1,
        "b/1.png": 0,
    }


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    touch_files(tmp_path, "1.png")
    (tmp_path / "t.csv").write_text("1.png,é\n", "utf-8-sig")
    assert list_images(tmp_path, labels=tmp_path / "t.csv").class_names == ["é"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1.png\n", "two columns"),
        (b"other.png,x\n", "match none"),
        (b"\xff\xff,x\n", "cannot read"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    touch_files(tmp_path, "1.png")
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(RetroscopeError, match=said):
        list_images(tmp_path, labels=tmp_path / "t.csv")
    with pytest.raises(RetroscopeError, match="cannot read the labels"):
        list_images(tmp_path, labels=tmp_path / "nothing.csv")


def test_an_option_without_effect_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png")
    with pytest.raises(RetroscopeError, match="leave glob out"):
        list_images(tmp_path / "list.txt", glob="*.png")
    with pytest.raises(RetroscopeError, match="has its own"):
        list_images(Items(1), labels=tmp_path / "list.txt")


def fingerprint_of(keys: list[str], labels: list[int], names: list[str]) -> str:
    return ImageList(keys, labels, names, str).fingerprint


def test_the_fingerprint_changes_with_names_order_and_classes() -> None:
    seen = [
        fingerprint_of(["a", "b"], [0, 1], ["x", "y"]),
        fingerprint_of(["b", "a"], [0, 1], ["x", "y"]),
        fingerprint_of(["a", "b"], [1, 0], ["x", "y"]),
        fingerprint_of(["a", "b"], [0, -1], ["x", "y"]),
        fingerprint_of(["a", "b"], [0, 1], ["x", "z"]),
        fingerprint_of(["a"], [0], ["x", "y"]),
        fingerprint_of(["a", "b", "c"], [0, 1, 1], ["x", "y"]),
        fingerprint_of(["a", "\udcff"], [0, 1], ["x", "y"]),
    ]
    assert len(set(seen)) == len(seen)
    assert fingerprint_of(["a", "b"], [0, 1], ["x", "y"]) == seen[0]


def test_a_data_set_returns_images_arrays_and_tensors() -> None:
    shown = PIL.Image.new("RGB", (4, 3), "red")
    tensor = torch.zeros(3, 3, 4)
    found = list_images(
        Items(shown, (np.array(shown), 5), [tensor, "label"], np.array(shown)[..., 0])
    )
    assert (found.keys, found.labels, list(found.class_names)) == (list("0123"), [-1] * 4, [])
    assert found.load(0) is shown
    assert np.array_equal(np.array(found.load(1)), np.array(shown))
    assert found.load(2) is tensor
    grey = found.load(3)
    assert isinstance(grey, PIL.Image.Image)
    assert grey.mode == "L"


@pytest.mark.parametrize(
    "item", ["text", 7, np.zeros((3, 4, 5, 6)), np.zeros((2, 2, 3), complex), None]
)
def test_an_invalid_sample_of_a_data_set_is_an_unreadable_image(item: object) -> None:
    with pytest.raises(ImageError, match="the data set returns a"):
        list_images(Items(item)).load(0)


def test_a_broken_file_of_a_data_set_is_an_unreadable_image() -> None:
    with pytest.raises(ImageError, match="cannot identify image file"):
        list_images(Broken(1, 2)).load(0)


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(ImageError, match="empty"):
        list_images(Items())


@pytest.mark.parametrize("targets", [[0, 1, 2], [0], [0, 1, 0, 1]])
def test_targets_that_do_not_fit_a_data_set_are_refused(targets: list[int]) -> None:
    items = Items(1, 2, 3)
    vars(items).update(classes=["a", "b"], targets=targets)
    with pytest.raises(RetroscopeError, match="3 images and 2 classes"):
        list_images(items)


def test_targets_are_numbers_of_classes_or_below_zero_for_none() -> None:
    items = Items(1, 2, 3)
    vars(items).update(classes=["a", "b"], targets=torch.tensor([1, -1, 0]))
    found = list_images(items)
    assert (list(found.class_names), found.labels) == (["a", "b"], [1, -1, 0])


# Folders


def test_hidden_files_and_folders_are_left_out_and_counted(tmp_path: Path) -> None:
    touch_files(
        tmp_path,
        "cat/a.png",
        "cat/.a.png.swp.png",
        ".ipynb_checkpoints/a-checkpoint.png",
        "cat/.ipynb_checkpoints/a-checkpoint.png",
        "__MACOSX/cat/._a.png",
        "dog/b.png",
    )
    images = list_images(tmp_path)
    assert images.keys == ["cat/a.png", "dog/b.png"]
    assert images.class_names == ["cat", "dog"]
    assert [note.text for note in images.notes] == [
        "left out 4 hidden files, such as '.ipynb_checkpoints/a-checkpoint.png'"
    ]
    assert list_images(tmp_path, glob="*.png").keys == images.keys


def test_a_hidden_folder_is_listed_by_its_own_path(tmp_path: Path) -> None:
    touch_files(tmp_path, ".cache/photos/a.png")
    with pytest.raises(ImageError, match=r"all 1 images in .* are hidden; .* give its own path"):
        list_images(tmp_path)
    assert list_images(tmp_path / ".cache").keys == ["photos/a.png"]


@pytest.mark.parametrize(
    ("class_folder", "classes"),
    [
        (None, ["", "flat", "train", "val"]),
        ("first", ["", "flat", "train", "val"]),
        ("last", ["", "flat", "cat", "cat"]),
        ("all", ["", "flat", "train/cat", "val/cat"]),
    ],
)
def test_the_class_folder_is_the_first_the_last_or_all(
    tmp_path: Path, class_folder: str | None, classes: list[str]
) -> None:
    touch_files(tmp_path, "a.png", "flat/b.png", "train/cat/c.png", "val/cat/d.png")
    images = list_images(tmp_path, class_folder=class_folder)
    names = [images.class_names[label] if label >= 0 else "" for label in images.labels]
    assert names == classes
    assert images.class_names == sorted(set(filter(None, classes)))


def test_folders_in_folders_are_noted_unless_the_class_folder_is_chosen(tmp_path: Path) -> None:
    touch_files(tmp_path, "train/cat/c.png", "val/cat/d.png")
    (note,) = list_images(tmp_path).notes
    assert note.parameter == "class_folder"
    assert "the class of 'train/cat/c.png' is the first, 'train'" in note.text
    assert "last for 'cat' or all for 'train/cat'" in note.text
    assert list_images(tmp_path, class_folder="first").notes == []
    assert list_images(tmp_path / "train").notes == []


def test_a_class_folder_that_has_no_effect_or_does_not_exist_is_refused(tmp_path: Path) -> None:
    touch_files(tmp_path, "cat/c.png")
    (tmp_path / "labels.csv").write_text("c.png,x\n")
    with pytest.raises(RetroscopeError, match="no class folder 'lst'; did you mean 'last'"):
        list_images(tmp_path, class_folder="lst")
    with pytest.raises(RetroscopeError, match="the labels give the classes"):
        list_images(tmp_path, labels=tmp_path / "labels.csv", class_folder="last")
    with pytest.raises(RetroscopeError, match="are for files"):
        list_images(Items(1), class_folder="last")


# Lists and labels


@pytest.mark.parametrize("again", ["cat/a.png", "./cat/a.png", "dog/../cat/a.png", "{}/cat/a.png"])
def test_a_file_that_is_listed_twice_is_refused(tmp_path: Path, again: str) -> None:
    lines = ["cat/a.png", "dog/a.png", again.format(tmp_path)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    with pytest.raises(ImageError, match=r"images 1 and 3 of the list are one file, '.*a\.png'"):
        list_images(tmp_path / "list.txt")
    with pytest.raises(ImageError, match="images 1 and 2 of the list are one file"):
        list_images([tmp_path / "a.png", str(tmp_path / "a.png")])


def test_a_list_saved_by_an_editor_of_windows_is_read(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("cat/a.png\r\ndog/b.png\r\n", "utf-8-sig")
    assert list_images(tmp_path / "list.txt").keys == ["cat/a.png", "dog/b.png"]


def test_labels_that_name_several_images_are_refused(tmp_path: Path) -> None:
    touch_files(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "t.csv").write_text("1.png,x\n")
    with pytest.raises(RetroscopeError, match=r"a row '1.png', the name of 2 images, such as 'a/1"):
        list_images(tmp_path, labels=tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a/1.png,x\nb/1.png,y\n1.png,z\n")
    assert list_images(tmp_path, labels=tmp_path / "t.csv").class_names == ["x", "y"]


def test_labels_that_give_an_image_two_classes_are_refused(tmp_path: Path) -> None:
    touch_files(tmp_path, "a/1.png")
    (tmp_path / "t.csv").write_text("a/1.png,x\na/1.png,x\n./a/1.png,y\n")
    with pytest.raises(RetroscopeError, match="two classes, 'x' and 'y'"):
        list_images(tmp_path, labels=tmp_path / "t.csv")


def test_labels_may_be_written_with_the_separators_of_windows(tmp_path: Path) -> None:
    touch_files(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "t.csv").write_text("a\\1.png, x\n.\\b\\1.png,y\n")
    images = list_images(tmp_path, labels=tmp_path / "t.csv")
    assert [images.class_names[label] for label in images.labels] == ["x", "y"]


def test_images_without_a_label_are_counted(tmp_path: Path) -> None:
    touch_files(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "t.csv").write_text("path,class\n2.png,x\n")
    (note,) = list_images(tmp_path, labels=tmp_path / "t.csv").notes
    assert note.text.startswith("2 of 3 images have no class in ")


# Data sets that list their files


class Folder(Items):
    """A data set of files, as torchvision's ImageFolder."""

    def __init__(self, root: Path, *names: str) -> None:
        super().__init__(*names)
        self.root = str(root)
        self.classes = sorted({Path(name).parts[0] for name in names})
        self.targets = [self.classes.index(Path(name).parts[0]) for name in names]
        self.samples = [(str(root / name), 0) for name in names]


def test_a_data_set_keeps_the_names_of_its_files(tmp_path: Path) -> None:
    dataset = Folder(tmp_path, "cat/a.png", "dog/b.png")
    images = list_images(dataset)
    assert images.keys == ["cat/a.png", "dog/b.png"]
    dataset.root = "elsewhere"
    assert list_images(dataset).keys == [str(tmp_path / "cat/a.png"), str(tmp_path / "dog/b.png")]


def test_torchvisions_folder_is_listed_as_the_folder_itself(tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    for name in ("cat/a.png", "cat/b.png", "dog/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        PIL.Image.new("RGB", (4, 4)).save(tmp_path / name)
    dataset, folder = list_images(datasets.ImageFolder(tmp_path)), list_images(tmp_path)
    assert dataset.fingerprint == folder.fingerprint


def test_a_part_of_a_data_set_has_the_names_and_classes_of_its_samples(tmp_path: Path) -> None:
    images = list_images(Subset(Folder(tmp_path, "cat/a.png", "cat/b.png", "dog/a.png"), [2, 0]))
    assert images.keys == ["dog/a.png", "cat/a.png"]
    assert [images.class_names[label] for label in images.labels] == ["dog", "cat"]


def test_joined_data_sets_match_their_classes_by_name(tmp_path: Path) -> None:
    joined: ConcatDataset[object] = ConcatDataset(
        [Folder(tmp_path / "1", "cat/a.png", "dog/b.png"), Folder(tmp_path / "2", "dog/c.png")]
    )
    images = list_images(joined)
    assert images.keys == ["cat/a.png", "dog/b.png", "dog/c.png"]
    assert [images.class_names[label] for label in images.labels] == ["cat", "dog", "dog"]


def test_names_that_two_samples_would_share_are_whole_paths_or_indices(tmp_path: Path) -> None:
    first, second = Folder(tmp_path / "1", "cat/a.png"), Folder(tmp_path / "2", "cat/a.png")
    assert list_images(ConcatDataset([first, second])).keys == [
        str(tmp_path / "1/cat/a.png"),
        str(tmp_path / "2/cat/a.png"),
    ]
    assert list_images(Subset(first, [0, 0])).keys == ["0", "1"]
    mixed: list[Dataset[object]] = [first, Items(1)]
    assert list_images(ConcatDataset(mixed)).keys == ["0", "1"]
