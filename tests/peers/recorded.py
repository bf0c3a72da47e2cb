"""What the peers gave, read from tests/reference: without any peer installed."""

import collections
import json
import os

import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "reference")

Record = collections.namedtuple("Record", "case points extras")
Record.__doc__ = """One run of a peer.

``points`` maps the number of calls made (1, 2, 3, 10, ...) to the list of parameters then; ``extras`` maps "averages"
and "finalized", where the case has them, to lists of arrays.
"""


def metadata(peer, folder=FOLDER):
    """Versions, cases, number of steps, and the steps kept of a file."""
    with np.load(_path(peer, folder), allow_pickle=False) as archive:
        return json.loads(str(archive["metadata"]))


def records(peer, folder=FOLDER):
    """Every run in a file, by the name of its case."""
    with np.load(_path(peer, folder), allow_pickle=False) as archive:
        facts = json.loads(str(archive["metadata"]))
        return {case["name"]: _record(archive, facts, case) for case in facts["cases"]}


def write(peer, versions, runs, steps, kept, folder=FOLDER):
    """Write a file from pairs of a case and what its driver's ``run`` returned; the same bytes for the same runs."""
    arrays, cases = {}, []
    for case, result in runs:
        name = case["name"]
        shapes = [list(p.shape) for p in result["points"][0]]
        extras = [key for key in ("averages", "finalized") if key in result]
        cases.append(dict(case, shapes=shapes, extras=extras))
        arrays[name] = np.array([_flat(result["points"][step - 1]) for step in kept])
        for key in extras:
            arrays[name + "." + key] = _flat(result[key])
    facts = {"peer": peer, "versions": versions, "steps": steps, "kept": kept, "cases": cases}
    arrays["metadata"] = np.array(json.dumps(facts, sort_keys=True))  # inf is written as Infinity, which json reads
    np.savez_compressed(_path(peer, folder), **arrays)


def _path(peer, folder):
    return os.path.join(folder, peer + ".npz")


def _flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


def _record(archive, facts, case):
    shapes, extras = case.pop("shapes"), case.pop("extras")
    rows = archive[case["name"]]
    points = {step: _split(row, shapes) for step, row in zip(facts["kept"], rows)}  # noqa: B905 - Python 3.7
    return Record(case, points, {key: _split(archive[case["name"] + "." + key], shapes) for key in extras})


def _split(row, shapes):
    sizes = [int(np.prod(shape)) for shape in shapes]
    parts = np.split(row, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]  # noqa: B905 - Python 3.7
