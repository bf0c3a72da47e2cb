"""Checkpoints: exact resume, atomic writes, and a clear error for everything that is not a whole one."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nadam_numba import NAdam, checkpoint, load_checkpoint, schedules
from nadam_numba.checkpoint import CheckpointError


def make_optimizer():
    params = {"a": np.arange(6.0).reshape(2, 3), "b": [np.ones(2, np.complex64), None, np.array(0.5)]}
    optimizer = NAdam(params, 0.1, amsgrad=True, use_ema=True, gradient_accumulation_steps=2)
    for step in range(3):
        optimizer.step({"a": np.full((2, 3), step + 1.0), "b": [np.full(2, 1j, np.complex64), None, None]})
    return optimizer, params


def saved_bytes(folder):
    optimizer, params = make_optimizer()
    optimizer.save(folder / "whole.npz")
    return (folder / "whole.npz").read_bytes(), optimizer, params


def test_a_checkpoint_is_npz_and_plain_data(tmp_path):
    data, optimizer, params = saved_bytes(tmp_path)
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        assert {name for name in archive.files if name != "tree.json"} == {
            str(n) for n in range(len(archive.files) - 1)
        }
    loaded = load_checkpoint(tmp_path / "whole.npz")
    saved = {item["path"]: item["parameter"] for item in loaded["param_groups"][0]["arrays"]}
    expected = {"a": params["a"], "b/0": params["b"][0], "b/2": params["b"][2]}
    assert saved.keys() == expected.keys()
    for path, array in expected.items():
        np.testing.assert_array_equal(saved[path], array, strict=True)
    other = NAdam({"a": np.ones((2, 3)), "b": [np.ones(2, np.complex64), None, np.array(0.0)]})
    other.load_state_dict(loaded)
    assert repr(other) == repr(optimizer)


def test_paths_may_be_strings_and_files_are_replaced(tmp_path):
    path = str(tmp_path / "checkpoint")
    optimizer = NAdam(np.ones(3))
    optimizer.save(path)
    optimizer.step(np.ones(3))
    optimizer.save(path)
    assert load_checkpoint(path)["iterations"] == 1
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    optimizer = NAdam(np.ones(3))
    optimizer.save(tmp_path / "checkpoint.npz")
    before = (tmp_path / "checkpoint.npz").read_bytes()
    optimizer.step(np.ones(3))

    def fail(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(OSError, match="disk full"):
        optimizer.save(tmp_path / "checkpoint.npz")
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["checkpoint.npz"]


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        NAdam.load(tmp_path / "none.npz", np.ones(3))
    with pytest.raises(FileNotFoundError):
        NAdam(np.ones(3)).save(tmp_path / "none" / "checkpoint.npz")


def refuse(path, params, error=CheckpointError, match=""):
    """Loading fails, and leaves the parameters alone."""
    before = [p.copy() for p in params]
    with pytest.raises(error, match=match):
        NAdam.load(path, params)
    for p, expected in zip(params, before, strict=True):
        np.testing.assert_array_equal(p, expected)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 200, -1, -64, -65, -500])
def test_a_file_cut_short(length, tmp_path):
    data, _, _ = saved_bytes(tmp_path)
    (tmp_path / "short.npz").write_bytes(data[:length])
    refuse(tmp_path / "short.npz", [np.zeros((2, 3))], match="cut short")


@settings(max_examples=200)
@given(data=st.data())
def test_any_flipped_bit(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flipped")
    content = bytearray(saved_bytes(folder)[0])
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "flipped.npz").write_bytes(content)
    refuse(folder / "flipped.npz", [np.zeros((2, 3))], match="changed since it was written")


def write_signed(path, members):
    """A file with a valid digest that `save` would not write."""
    with open(path, "w+b") as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = bytes(64)
            for name, content in members.items():
                archive.writestr(name, content)
        digest = checkpoint._digest_of_all_but_the_end(file)
        file.seek(-64, os.SEEK_END)
        file.write(digest)


def object_array():
    stream = io.BytesIO()
    np.save(stream, np.array([Danger()], object), allow_pickle=True)
    return stream.getvalue()


class Danger:
    """Unpickling one is noticed."""

    loaded = False

    def __reduce__(self):
        return setattr, (Danger, "loaded", True)


def header(tree, version=checkpoint.VERSION, name=checkpoint.FORMAT):
    return json.dumps({"format": name, "version": version, "tree": tree})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"tree.json": header({}, version=2)}, "version 2"),
        ({"tree.json": header({}, name="something else")}, "no checkpoint"),
        ({"tree.json": "{"}, "no checkpoint"),
        ({"tree.json": "[]"}, "no checkpoint"),
        ({"tree.json": header([])}, "no checkpoint"),
        ({"tree.json": header({"array": 0})}, "no checkpoint"),
        ({"tree.json": header({"iterations": 0})}, "checkpoint has the keys"),
        ({"other.json": "{}"}, "no checkpoint"),
        ({"tree.json": header({"params": {"array": 0}})}, "no checkpoint"),
        ({"tree.json": header({"params": [{"array": 0}]}), "0.npy": object_array()}, "no checkpoint"),
        ({"tree.json": header({"params": [{"array": 0}]}), "0.npy": pickle.dumps(Danger())}, "no checkpoint"),
    ],
    ids=["version", "format", "json", "list", "tree", "no tree", "keys", "missing", "array", "objects", "pickle"],
)
def test_files_of_another_kind(members, message, tmp_path):
    write_signed(tmp_path / "file.npz", members)
    refuse(tmp_path / "file.npz", [np.zeros((2, 3))], ValueError, match=message)
    assert not Danger.loaded


def test_a_pickle(tmp_path):
    (tmp_path / "file.pkl").write_bytes(pickle.dumps({"params": Danger()}) + bytes(100))
    refuse(tmp_path / "file.pkl", [np.zeros(3)], match="no checkpoint")
    assert not Danger.loaded


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([np.zeros(4), np.zeros(2)], ValueError, r"has shape \(3,\): its parameter has \(4,\)"),
        ([np.zeros(3), np.zeros(2, np.float32)], TypeError, "has dtype float64: its parameter has float32"),
        ([np.zeros(3)], ValueError, "has 2 entries: it must have 1"),
    ],
)
def test_parameters_that_do_not_fit(params, error, message, tmp_path):
    NAdam([np.ones(3), np.ones(2)]).save(tmp_path / "checkpoint.npz")
    refuse(tmp_path / "checkpoint.npz", params, error, message)


def test_a_state_that_does_not_fit_leaves_the_parameters(tmp_path):
    optimizer = NAdam([np.ones(3)])
    tree = optimizer.state_dict()
    tree["param_groups"][0]["arrays"][0]["parameter"] = np.full(3, 5.0)
    tree["param_groups"][0]["arrays"][0]["second_moment"][1] = -1.0
    checkpoint.save(tmp_path / "checkpoint.npz", tree)
    refuse(tmp_path / "checkpoint.npz", [np.zeros(3)], ValueError, "second_moment")


def test_objects_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="Object arrays"):
        checkpoint.save(tmp_path / "checkpoint.npz", {"params": np.array([None])})
    assert os.listdir(tmp_path) == []


def test_groups_and_exclusions_are_restored(tmp_path):
    weights, bias = np.ones((2, 2)), np.ones(2)
    groups = [
        {"params": {"weights": weights, "bias": bias}, "weight_decay": 0.5},
        {"params": np.ones(3), "beta_1": 0.5},
    ]
    optimizer = NAdam(groups, learning_rate=0.1, decoupled_weight_decay=True)
    optimizer.exclude_from_weight_decay(names=["bias"])
    optimizer.save(tmp_path / "checkpoint.npz")
    others = [
        {"params": {"weights": np.zeros((2, 2)), "bias": np.zeros(2)}, "weight_decay": 9.0},
        {"params": np.zeros(3)},
    ]
    resumed = NAdam.load(tmp_path / "checkpoint.npz", others)
    grads = [{"weights": np.zeros((2, 2)), "bias": np.zeros(2)}, np.ones(3)]
    optimizer.step(grads)
    resumed.step(grads)
    assert others[0]["params"]["weights"].tolist() == weights.tolist() == [[0.95, 0.95], [0.95, 0.95]]
    assert others[0]["params"]["bias"].tolist() == [1.0, 1.0]
    assert resumed.param_groups[1]["beta_1"] == 0.5


def test_a_learning_rate_that_is_code_must_be_given_again(tmp_path):
    NAdam([np.ones(3)], learning_rate=lambda step: 0.1).save(tmp_path / "checkpoint.npz")
    refuse(tmp_path / "checkpoint.npz", [np.zeros(3)], ValueError, "learning_rate=None")
    resumed = NAdam.load(tmp_path / "checkpoint.npz", [np.zeros(3)], learning_rate=schedules.cosine_decay(0.1, 10))
    assert resumed.learning_rate(0) == 0.1


SCHEDULES = [
    schedules.constant(0.1),
    schedules.exponential_decay(0.1, 10, 0.5, staircase=True),
    schedules.inverse_time_decay(0.1, 10, 0.5),
    schedules.polynomial_decay(0.1, 10, cycle=True),
    schedules.piecewise_constant([2, 5], [0.3, 0.2, 0.1]),
    schedules.cosine_decay(0.1, 10, warmup_target=0.3, warmup_steps=4),
    schedules.cosine_decay_restarts(0.1, 3),
    schedules.one_cycle(0.1, 30, anneal_strategy="linear"),
    schedules.linear_warmup(0.1, 5),
    schedules.linear_warmup(schedules.piecewise_constant([2, 5], [0.3, 0.2, 0.1]), 5),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_of_the_package_are_saved(schedule, tmp_path):
    p = np.ones(3)
    optimizer = NAdam([{"params": p, "learning_rate": schedule}, {"params": np.ones(1)}])
    optimizer.step([np.ones(3), None])
    optimizer.save(tmp_path / "checkpoint.npz")
    loaded = np.zeros(3)
    resumed = NAdam.load(tmp_path / "checkpoint.npz", [{"params": loaded}, {"params": np.ones(1)}])
    assert resumed.param_groups[0]["learning_rate"] == schedule
    for _ in range(12):
        optimizer.step([np.ones(3), None])
        resumed.step([np.ones(3), None])
    np.testing.assert_array_equal(p, loaded)


def test_a_plateau_is_saved_with_its_state(tmp_path):
    plateau = schedules.reduce_on_plateau(0.5, factor=0.5, patience=0)
    plateau.update(1.0)
    optimizer = NAdam(np.ones(3), learning_rate=plateau)
    plateau.update(1.0)
    optimizer.save(tmp_path / "checkpoint.npz")
    resumed = NAdam.load(tmp_path / "checkpoint.npz", np.ones(3))
    assert resumed.learning_rate == plateau
    assert resumed.learning_rate is not plateau
    resumed.learning_rate.update(2.0)
    assert resumed.learning_rate(0) == 0.125
    assert plateau(0) == 0.25
    # The user's own object, if it is of the same kind, goes on from the saved state.
    own = schedules.reduce_on_plateau(0.5, factor=0.5, patience=0)
    assert NAdam.load(tmp_path / "checkpoint.npz", np.ones(3), learning_rate=own).learning_rate is own
    assert own == plateau
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.learning_rate is plateau
    other = schedules.reduce_on_plateau(0.5, factor=0.25)
    assert NAdam.load(tmp_path / "checkpoint.npz", np.ones(3), learning_rate=other).learning_rate == plateau


def test_arrays_are_matched_by_their_paths(tmp_path):
    params = {"w": np.full(2, 1.0), "b": np.full(2, 5.0)}
    optimizer = NAdam(params, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(names=["b"])
    optimizer.step({"w": np.ones(2), "b": np.array([1.0, -1.0])})
    optimizer.save(tmp_path / "checkpoint.npz")
    other = {"b": np.zeros(2), "w": np.zeros(2)}
    resumed = NAdam.load(tmp_path / "checkpoint.npz", other)
    for some in (optimizer, resumed):
        some.step({"w": np.ones(2), "b": np.ones(2)})
    for key, array in params.items():
        np.testing.assert_array_equal(other[key], array)
    refuse(tmp_path / "checkpoint.npz", [np.zeros(2), np.zeros(2)], ValueError, r"paths \['w', 'b'\]")


def test_groups_of_other_arrays(tmp_path):
    a, b, c = np.ones(1), np.ones(2), np.ones(3)
    NAdam([{"params": [a, b]}, {"params": c}]).save(tmp_path / "checkpoint.npz")
    with pytest.raises(ValueError, match="has 2 entries: it must have 1"):
        NAdam.load(tmp_path / "checkpoint.npz", [{"params": a}, {"params": [b, c]}])


def test_only_rates_that_were_code_are_replaced(tmp_path):
    def rate(step):
        return 0.25

    groups = [{"params": np.ones(1), "learning_rate": rate}, {"params": np.ones(1)}]
    NAdam(groups, learning_rate=0.1).save(tmp_path / "checkpoint.npz")
    fresh = [{"params": np.ones(1)}, {"params": np.ones(1)}]
    with pytest.raises(ValueError, match=r"of params\[0\]"):
        NAdam.load(tmp_path / "checkpoint.npz", fresh)
    for loaded in (
        NAdam.load(tmp_path / "checkpoint.npz", fresh, learning_rate=rate),
        NAdam.load(tmp_path / "checkpoint.npz", [{"params": np.ones(1), "learning_rate": rate}, fresh[1]]),
    ):
        assert [group["learning_rate"] for group in loaded.param_groups] == [rate, 0.1]
        assert loaded.learning_rate == 0.1


def test_links_and_permissions_stay(tmp_path):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "checkpoint.npz"
    NAdam(np.ones(3)).save(target)
    target.chmod(0o600)
    (tmp_path / "link.npz").symlink_to(target)
    optimizer = NAdam(np.ones(3))
    optimizer.step(np.ones(3))
    optimizer.save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert load_checkpoint(target)["iterations"] == 1
    optimizer.save(tmp_path / ("long" * 60))


@pytest.mark.parametrize(
    "data", [{}, {"schedule": "os.system", "arguments": {}}, {"schedule": "constant"}, {"schedule": ["x"]}]
)
def test_schedules_that_are_none(data):
    optimizer = NAdam(np.ones(3))
    state = optimizer.state_dict()
    state["hyperparameters"]["learning_rate"] = data
    with pytest.raises(ValueError, match=r"state_dict\['hyperparameters'\]\['learning_rate'\]="):
        optimizer.load_state_dict(state)
