"""Weight files that would run code, read elsewhere or grow: refused in one line, without harm."""

import builtins
import functools
import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.zoo.weights import restricted_unpickler
from tests.zoo import weight_files as w

h5py: Any = pytest.importorskip("h5py")


def refused(path: Path, **options: Any) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(ModelError) as error:
        rs.open_model(str(path), **options)
    said = str(error.value)
    assert str(path) in said
    assert "\n" not in said
    return said


# Files that would run code


def harmful(mark: Path) -> dict[str, tuple[object, str]]:
    """What a pickle may ask for, and the name by which it is refused."""
    leave_mark = f"open({str(mark)!r}, 'w').close()"
    system = w.Asks(os.system, f"touch {mark}")
    return {
        "os.system": (system, f"{os.name}.system"),
        "eval": (w.Asks(builtins.eval, leave_mark), "builtins.eval"),
        "exec": (w.Asks(builtins.exec, leave_mark), "builtins.exec"),
        "import": (w.Asks(builtins.__import__, "os"), "builtins.__import__"),
        "a copy": (w.Asks(shutil.copy, __file__, str(mark)), "shutil.copy"),
        "a file": (w.Asks(io.open, str(mark), "w"), "io.open"),
        "nested in a list": ([3, [system]], f"{os.name}.system"),
        "nested in a name": ({w.Asks(builtins.eval, "0"): 1}, "builtins.eval"),
        "as an argument": (w.Asks(functools.partial, print), "functools.partial"),
        "a class": (w.Asks(getattr, "text", "upper"), "builtins.getattr"),
    }


@pytest.mark.parametrize("attack", harmful(Path("mark")))
def test_an_npy_that_asks_for_a_function_is_refused_by_its_name(
    attack: str, tmp_path: Path
) -> None:
    thing, name = harmful(tmp_path / "mark")[attack]
    path = tmp_path / "vgg16.npy"
    w.npy_that_holds(path, thing)
    assert f"asks for {name}, which weights never need" in refused(path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("attack", harmful(Path("mark")))
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_pt_that_asks_for_a_function_is_refused_by_its_name(
    attack: str, new: bool, tmp_path: Path
) -> None:
    thing, name = harmful(tmp_path / "mark")[attack]
    path = tmp_path / "weights.pt"
    torch.save({"conv.weight": thing}, path, _use_new_zipfile_serialization=new)
    line = refused(path)
    assert f"asks for {name}" in line
    assert "which weights never need" in line
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("attack", ["os.system", "eval", "nested in a list"])
def test_objects_in_an_npz_are_not_read(attack: str, tmp_path: Path) -> None:
    thing, _ = harmful(tmp_path / "mark")[attack]
    box = np.empty(1, object)
    box[0] = thing
    path = tmp_path / "weights.npz"
    w.npz(path, w.vgg(), fc9_W=box)
    assert "'fc9_W.npy' contains object" in refused(path)
    assert not (tmp_path / "mark").exists()


def test_a_bare_pickle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(w.Asks(builtins.eval, "0")))
    assert "it is a pickle, which could run any code" in refused(path)


@pytest.mark.parametrize(
    ("opcodes", "said"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "asks for os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", "asks for posix.system"),
        (b"(ios\nsystem\n(S'true'\nt.", "asks for os.system"),
        (b"\x80\x02cnumpy\nload\n.", "asks for numpy.load"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0dgetattr.lower\x93.", "asks for builtins.getattr"),
        (b"cnumpy.core.multiarray\n_reconstruct\n}S'x'\nI1\nsb.", "asks to change"),
        (b"cnumpy\nndarray\n(N}S'content'\nI1\nstb.", "asks to change"),
        (b"cnumpy\nndarray\n(I1000000000000\ntR.", "damaged"),
        (b"cnumpy\ndtype\n(S'V1000000000'\nI0\nI1\ntR.", "damaged"),
        (b"c_codecs\nencode\n(S'a'\nS'zip'\ntR.", "damaged"),
        (b"r\xff\xff\xff\xffN.", "damaged"),
        (b"\x8e\xff\xff\xff\xff\xff\x00\x00\x00.", "damaged"),
        (b"Pnobody\n.", "damaged"),
        (b"\x82\x01.", "damaged"),
        (b"N.", "contains a NoneType; weights in .npy format are a dictionary"),
        (b"", "damaged"),
    ],
)
def test_a_pickle_written_by_hand_does_nothing(opcodes: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.npy"
    w.npy_of_opcodes(path, opcodes)
    kept = {
        name: dict(vars(kind))
        for name, kind in vars(restricted_unpickler).items()
        if isinstance(kind, type)
    }
    assert said in refused(path)
    now = {
        name: dict(vars(kind))
        for name, kind in vars(restricted_unpickler).items()
        if isinstance(kind, type)
    }
    assert now == kept


def test_arrays_are_all_that_a_pickle_may_hold(tmp_path: Path) -> None:
    """The strings of an array are as long as its shape says, whatever the shape says."""
    path = tmp_path / "weights.npy"
    w.npy_of_python_two(path, w.vgg())
    longer = path.read_bytes().replace(b"(I9\nI24\nt", b"(I9\nI99999999999\nt", 1)
    longer = longer.replace(b"(I24\nI9\nt", b"(I99999999999\nI9\nt", 1)
    path.write_bytes(longer)
    assert "99999999999" in refused(path)


# HDF5 that leads elsewhere, or asks for more than it has


def keras(path: Path, change: Callable[[Any], None]) -> Path:
    w.applications(path, w.vgg(), kernels="tf")
    with h5py.File(path, "a") as file:
        change(file)
    return path


def elsewhere(link: object) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file["block3_conv2"]["block3_conv2_W_1:0"]
        file["block3_conv2"]["block3_conv2_W_1:0"] = link

    return change


def test_links_out_of_a_file_are_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["numbers"] = np.zeros((3, 3, 5, 5), np.float32)
    for link in (h5py.ExternalLink("secret.h5", "numbers"), h5py.SoftLink("/fc1")):
        path = keras(tmp_path / "vgg16.h5", elsewhere(link))
        assert "links to another location" in refused(path)


def another(**settings: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file["block3_conv2"]["block3_conv2_W_1:0"]
        file["block3_conv2"].create_dataset("block3_conv2_W_1:0", **settings)

    return change


def virtual(file: Any) -> None:
    del file["block3_conv2"]["block3_conv2_W_1:0"]
    layout = h5py.VirtualLayout((3, 3, 5, 5), np.float32)
    layout[:] = h5py.VirtualSource("secret.h5", "numbers", (3, 3, 5, 5))
    file["block3_conv2"].create_virtual_dataset("block3_conv2_W_1:0", layout)


@pytest.mark.parametrize(
    "change",
    [
        another(shape=(3, 3, 5, 5), dtype="f4", external=[("/etc/passwd", 0, 900)]),
        another(data=[b"a", b"b"], dtype=h5py.string_dtype()),
        another(shape=(2,), dtype=h5py.vlen_dtype(np.float32)),
        another(shape=(2,), dtype=h5py.ref_dtype),
        another(shape=(2,), dtype=[("a", "f4"), ("b", "f4")]),
        another(dtype=h5py.Empty("f4").dtype, data=h5py.Empty("f4")),
        virtual,
    ],
    ids=["external", "texts", "ragged", "references", "records", "empty", "virtual"],
)
def test_only_plain_numbers_of_the_file_itself_are_read(
    change: Callable[[Any], None], tmp_path: Path
) -> None:
    assert "is not a plain array of floating-point numbers" in refused(
        keras(tmp_path / "vgg16.h5", change)
    )


def test_a_small_file_does_not_become_a_large_network(tmp_path: Path) -> None:
    """HDF5 and zip archives can say in a few bytes that there are a great many zeros."""
    never_written = another(shape=(3, 3, 5, 2**40), dtype="f4", chunks=(3, 3, 5, 1024))
    assert "more than a file of" in refused(keras(tmp_path / "vgg16.h5", never_written))
    layers = w.vgg()
    zeros = np.zeros((9, 2**22), np.float32), layers["fc6"][1]
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file.attrs["nb_layers"] = 1
        file.create_dataset("layer_0/param_0", data=zeros[0], compression="gzip", chunks=(9, 2**20))
    assert "more than a file of" in refused(tmp_path / "packed.h5")
    path = tmp_path / "weights.npz"
    with path.open("wb") as opened:
        np.savez_compressed(opened, fc6_W=zeros[0], fc6_b=zeros[1])
    assert "more than a file of" in refused(path)


def test_the_same_numbers_many_times_over_count_many_times(tmp_path: Path) -> None:
    path = tmp_path / "again.h5"
    with h5py.File(path, "w") as file:
        file["layer_0/param_0"] = np.zeros((100, 1000), np.float32)
        for number in range(1, 200):
            file[f"layer_{number}/param_0"] = file["layer_0/param_0"]
    assert "more than a file of" in refused(path)


def test_groups_that_hold_themselves_have_an_end(tmp_path: Path) -> None:
    path = tmp_path / "round.weights.h5"
    w.keras_three(path, w.vgg())
    with h5py.File(path, "a") as file:
        file["layers/flatten/layers"] = file["layers"]
        file["layers/again"] = file["layers/conv2d"]
    assert rs.open_model(str(path), device="cpu").layers


def test_an_npz_whose_header_says_more_than_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (2**40,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conv1_1_W.npy", head.getvalue() + bytes(64))
    assert "is damaged or truncated" in refused(path)
