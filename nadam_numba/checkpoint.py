"""Nested dicts and lists of arrays and plain values, to a file and back: exact, atomic, and never running code.

The file is NumPy's npz: one member for each array, and ``tree.json`` for everything else. Its last 64 characters, the
comment of the archive, are the SHA-256 digest of all that comes before them, so that any damage is told.
"""

import hashlib
import io
import json
import os
import pathlib
import shutil
import uuid
import zipfile

import numpy as np

FORMAT = "nadam_numba checkpoint"
VERSION = 1
_TREE = "tree.json"
_DIGEST_LENGTH = 64
_CHUNK = 2**20


class CheckpointError(ValueError):
    """A file is not a whole and unchanged checkpoint of a version that can be read."""


def save(path: str | os.PathLike, tree: dict) -> None:
    """Write `tree` to a file, which is replaced at once or not at all.

    Parameters
    ----------
    path : str or path-like
    tree : dict
        Nested dicts and lists of arrays, strings, numbers, bools and None. Arrays of objects are refused.
    """
    # A link stays one; what it points to is replaced.
    path = pathlib.Path(os.path.realpath(os.fsdecode(path)))
    arrays = []
    header = {"format": FORMAT, "version": VERSION, "tree": _replaced(tree, arrays)}
    # In the same folder, for a file is renamed at once only within a file system.
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "x+b") as file:
            _write(file, json.dumps(header), arrays)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_checkpoint(path: str | os.PathLike) -> dict:
    """Read a file that `NAdam.save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict
        What `NAdam.state_dict` returns, with the array itself as the entry ``parameter`` beside the state of each.

    Raises
    ------
    OSError
        If the file cannot be read.
    CheckpointError
        If it is cut short, changed, of another version, or no checkpoint at all. It is a ValueError.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> from nadam_numba import NAdam, load_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     NAdam(np.ones(3)).save(pathlib.Path(folder) / "checkpoint.npz")
    ...     checkpoint = load_checkpoint(pathlib.Path(folder) / "checkpoint.npz")
    >>> checkpoint["iterations"], checkpoint["param_groups"][0]["arrays"][0]["parameter"]
    (0, array([1., 1., 1.]))
    """
    with open(path, "rb") as file:
        _check_digest(path, file)
        try:
            return _read(path, file)
        except CheckpointError:
            raise
        except Exception as error:  # written with a valid digest, but not by `save`
            raise CheckpointError(f"path={os.fspath(path)!r} is no checkpoint of nadam_numba: {error}") from error


def _replaced(tree, arrays):
    """`tree` with a number in place of each array, which is appended to `arrays`."""
    if isinstance(tree, dict):
        return {key: _replaced(subtree, arrays) for key, subtree in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_replaced(subtree, arrays) for subtree in tree]
    if isinstance(tree, np.ndarray):
        arrays.append(tree)
        return {"array": len(arrays) - 1}
    return tree


def _restored(tree, archive):
    if isinstance(tree, dict):
        if tree.keys() == {"array"}:
            return _array(archive, tree["array"])
        return {key: _restored(subtree, archive) for key, subtree in tree.items()}
    if isinstance(tree, list):
        return [_restored(subtree, archive) for subtree in tree]
    return tree


def _write(file, header, arrays):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.comment = bytes(_DIGEST_LENGTH)
        archive.writestr(_TREE, header)
        for number, array in enumerate(arrays):
            with archive.open(f"{number}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    digest = _digest_of_all_but_the_end(file)
    file.seek(-_DIGEST_LENGTH, os.SEEK_END)
    file.write(digest)


def _read(path, file):
    with zipfile.ZipFile(file) as archive:
        header = json.loads(archive.read(_TREE))
        if header["format"] != FORMAT:
            raise CheckpointError(f"path={os.fspath(path)!r} is no checkpoint of nadam_numba")
        if header["version"] != VERSION:
            raise CheckpointError(
                f"path={os.fspath(path)!r} is a checkpoint of version {header['version']}: it must be of {VERSION}"
            )
        tree = _restored(header["tree"], archive)
    if not isinstance(tree, dict):
        raise CheckpointError(f"path={os.fspath(path)!r} is no checkpoint of nadam_numba")
    return tree


def _array(archive, number):
    with archive.open(f"{number}.npy") as member:
        return np.lib.format.read_array(io.BufferedReader(member), allow_pickle=False)


def _check_digest(path, file):
    size = file.seek(0, os.SEEK_END)
    if size > _DIGEST_LENGTH:
        file.seek(-_DIGEST_LENGTH, os.SEEK_END)
        if file.read() == _digest_of_all_but_the_end(file):
            return
    raise CheckpointError(
        f"path={os.fspath(path)!r} is cut short, changed since it was written, or no checkpoint of nadam_numba"
    )


def _digest_of_all_but_the_end(file):
    remaining = file.seek(0, os.SEEK_END) - _DIGEST_LENGTH
    file.seek(0)
    digest = hashlib.sha256()
    while remaining:
        chunk = file.read(min(_CHUNK, remaining))
        digest.update(chunk)
        remaining -= len(chunk)
    return digest.hexdigest().encode()
