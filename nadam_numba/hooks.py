"""Functions of the user's that run before and after each step, with torch's interface."""

from collections.abc import Callable


class RemovableHandle:
    """What registering a hook returns."""

    def __init__(self, hooks: dict, hook: Callable):
        self._hooks = hooks
        hooks[self] = hook

    def remove(self) -> None:
        """Call the hook no more; a second time, do nothing."""
        self._hooks.pop(self, None)


class Hooks(dict):
    """Functions ``hook(optimizer, args, kwargs)`` by their handles, called in the order they were added."""

    def add(self, hook: Callable) -> RemovableHandle:
        """Add one; TypeError if it cannot be called."""
        if not callable(hook):
            raise TypeError(f"hook={hook!r} is a {type(hook).__name__}: it must be callable")
        return RemovableHandle(self, hook)

    def before(self, optimizer, grads):
        """Call them before a step; the gradients to step with, which each may replace."""
        for hook in list(self.values()):
            result = hook(optimizer, (grads,), {})
            if result is None:
                continue
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(f"{hook!r} returned {result!r}: it must be None or a pair (args, kwargs)")
            args, kwargs = result
            try:
                grads = _only_argument(*args, **kwargs)
            except TypeError:
                raise RuntimeError(f"{hook!r} returned {result!r}: args and kwargs must be those of step") from None
        return grads

    def after(self, optimizer, grads) -> None:
        """Call them after a step."""
        for hook in list(self.values()):
            hook(optimizer, (grads,), {})


def _only_argument(grads):
    return grads
