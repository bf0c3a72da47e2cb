"""Trees that keep their containers: lists, tuples, named tuples and dicts of trees, None, or leaves of other kinds."""

from collections.abc import Callable
from typing import Any


def each(take: Callable, trees: dict[str, Any], path: str = "") -> Any:
    """What `take` makes of each leaf of the first tree, in a tree of the same structure.

    Parameters
    ----------
    take : callable
        ``take(path, leaf, *others)``; the others are what stands there in the other trees, be it leaves or subtrees.
    trees : dict
        The trees, by the names that error messages call them.
    path : str
        The keys that lead to the trees, as in ``"['weights'][0]"``.

    Raises
    ------
    ValueError
        If another tree has not the containers of the first one, or not their keys or lengths.
    """
    (name, first), *others = trees.items()
    if not _is_container(first):
        return take(path, *trees.values())
    for other_name, other in others:
        _check_alike(f"{other_name}{path}", other, f"{name}{path}", first)
    children = {
        key: each(take, {name: _children(tree)[key] for name, tree in trees.items()}, f"{path}[{key!r}]")
        for key in _children(first)
    }
    return _filled(first, children)


def _is_container(tree):
    return tree is None or isinstance(tree, (dict, list, tuple))


def _children(tree):
    if isinstance(tree, dict):
        return tree
    return {} if tree is None else dict(enumerate(tree))


def _filled(container, children):
    """A container of the same kind with other children."""
    if isinstance(container, dict):
        copy = container.copy()  # keeps the kind and the order
        copy.update(children)
        return copy
    if hasattr(container, "_fields"):
        return type(container)(*children.values())
    return None if container is None else type(container)(children.values())


def _check_alike(name, tree, first_name, first):
    if type(tree) is not type(first):
        raise ValueError(
            f"{name}={tree!r} is a {type(tree).__name__}: it must be a {type(first).__name__}, as {first_name} is"
        )
    if _children(tree).keys() != _children(first).keys():
        keys, expected = list(_children(tree)), list(_children(first))
        raise ValueError(f"{name} has the keys {keys}: it must have {expected}, as {first_name} has")
