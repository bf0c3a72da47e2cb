"""The NAdam of `nadam_numba.compat.torch` for torch's tensors; the one module that imports torch.

Only the arithmetic of a step is replaced. Everything else, with all that torch's schedulers, scalers and checkpoints
rely on, is inherited from torch.optim.NAdam; tensors that the kernel cannot take make torch's own step.
"""

import copyreg
import functools
import types
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.autograd.graph import increment_version
from torch.optim.nadam import nadam

from nadam_numba import cpu
from nadam_numba.arrays import ordered_spans, overlaps
from nadam_numba.compat import _torch_cpus
from nadam_numba.compat._torch_prepared import Prepared
from nadam_numba.compat.torch import NAdam as NAdamOfArrays
from nadam_numba.compat.torch import hyperparameters_of
from nadam_numba.dialects import TORCH, exact

# torch makes the product of the momentum coefficients in its default dtype, and takes it on in that of the tensor.
_DIALECTS = {torch.float32: TORCH, torch.float64: exact(TORCH)}
# What the kernel takes, and the real numbers it takes it as.
_TYPE_STRINGS = {
    torch.float32: np.dtype(np.float32).str,
    torch.float64: np.dtype(np.float64).str,
    torch.complex64: np.dtype(np.float32).str,
    torch.complex128: np.dtype(np.float64).str,
}
# Subclasses may mean something else by their memory.
_TYPES = (torch.Tensor, torch.nn.Parameter)


class NAdam(torch.optim.NAdam, NAdamOfArrays):
    """torch.optim.NAdam, whose step passes over the memory of tensors once.

    Parameters
    ----------
    *args, **kwargs
        Those of torch.optim.NAdam.
    scalar_dtype : None
        There for the sake of the other form; for tensors ``torch.get_default_dtype()`` decides.

    Raises
    ------
    TypeError, ValueError
        As in torch, or if `scalar_dtype` is given.

    Notes
    -----
    The kernels take float32, float64, complex64 and complex128 tensors in the memory of the CPU and, where numba-cuda
    is installed, of CUDA devices, contiguous or merely permuted, such as those of ``torch.channels_last``. All others,
    and groups that are capturable or differentiable, are updated by torch itself. A gradient that shares memory with a
    parameter counts as it was before the step.

    Examples
    --------
    >>> import torch
    >>> from nadam_numba.compat.torch import NAdam
    >>> point = torch.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = NAdam([point], lr=0.1)
    >>> for _ in range(500):
    ...     optimizer.zero_grad()
    ...     (point**2).sum().backward()
    ...     optimizer.step()
    >>> bool(point.abs().max() < 1e-6), isinstance(optimizer, torch.optim.NAdam), isinstance(optimizer, NAdam)
    (True, True, True)
    """

    def __init__(self, *args, scalar_dtype: None = None, **kwargs):
        if scalar_dtype is not None:
            raise ValueError(
                f"scalar_dtype={scalar_dtype!r}: for tensors it must be None, torch.set_default_dtype decides"
            )
        super().__init__(*args, **kwargs)
        self._forget()

    def __setstate__(self, state):
        """As torch.optim.NAdam; called after each load, too."""
        super().__setstate__(state)
        self._forget()

    def _forget(self):
        """Begin anew with what is only known of the tensors of this moment."""
        self._views = {}
        self._gpu_tables = {}
        self._prepared = None
        self._unprepared_steps = 0

    def step(self, closure: Callable | None = None):
        """Update all parameters that have a gradient, in place, once.

        Parameters
        ----------
        closure : callable, optional
            Computes the gradients and returns the loss; called first, with gradients enabled.

        Returns
        -------
        object
            What `closure` returned; None without one.

        Raises
        ------
        RuntimeError
            If a gradient is sparse, or a storage has been made too small for its tensor.
        """
        self._accelerator_graph_capture_health_check()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            self._update()
        return loss

    def load_state_dict(self, state_dict: Mapping) -> None:
        """As torch.optim.NAdam; also of what the optimizer of arrays saved."""
        super().load_state_dict(as_tensors(state_dict))

    def _update(self):
        if self._prepared is not None and self._prepared.step(self, list(map(_scalars, self.param_groups))):
            self._unprepared_steps = 0
            return
        self._prepared = None
        kernel_rows, gpu_rows, torch_rows = [], [], []
        known_views, self._views = self._views, {}
        for group in self.param_groups:
            columns = [], [], [], [], [], []
            has_complex = self._init_group(group, *columns)
            scalars = _scalars(group)
            rest = []
            for row in zip(*columns, strict=True):
                if scalars is not None and _suits_gpus(*row):
                    gpu_rows.append((scalars, row))
                    continue
                views = None if scalars is None else self._views_for_kernel(known_views, *row)
                if views is None:
                    rest.append(row)
                else:
                    kernel_rows.append((scalars, views, row))
            if rest:
                torch_rows.append((group, has_complex, rest))
        _step_by_kernel(kernel_rows)
        if gpu_rows:
            self._step_on_gpus(gpu_rows)
        for group, has_complex, rest in torch_rows:
            _step_by_torch(group, has_complex, rest)
        self._prepare([row for _, _, row in kernel_rows], [row for _, row in gpu_rows], bool(torch_rows))

    def _prepare(self, cpu_rows, gpu_rows, others):
        """Prepare the next steps, if these are all rows of this one; where that is of no use, ever more rarely."""
        self._unprepared_steps += 1
        is_due = self._unprepared_steps & (self._unprepared_steps - 1) == 0
        if not is_due or others or bool(cpu_rows) == bool(gpu_rows):
            return
        if cpu_rows:
            self._prepared = Prepared.made(self, cpu_rows, _torch_cpus.launcher)
        else:
            from nadam_numba.compat import _torch_gpus

            self._prepared = Prepared.made(self, gpu_rows, lambda rows: _torch_gpus.launcher(rows, self._gpu_tables))

    def _step_on_gpus(self, rows):
        # Not before it is needed, for it loads CUDA.
        from nadam_numba.compat import _torch_gpus

        for _, row in rows:
            for tensor in row[:4]:
                _check_storage(tensor)
        spans = ordered_spans(_span(row[0]) for _, row in rows)
        gradients = [_safe_gradient(row[1], row[0], spans) for _, row in rows]
        numbers = [_count(scalars, mu_product, step) for scalars, (*_, mu_product, step) in rows]
        _torch_gpus.step([row[:4] for _, row in rows], gradients, numbers, self._gpu_tables)
        increment_version([tensor for _, (p, _, *moments, _, _) in rows for tensor in (p, *moments)])

    def _views_for_kernel(self, known_views, p, grad, exp_avg, exp_avg_sq, mu_product, step):
        """The numbers of a tensor and of its moments; None if the kernel cannot take them all."""
        tensors = p, exp_avg, exp_avg_sq
        places = tuple(map(_place, tensors))
        fits = _is_plain(grad) and grad.dtype is p.dtype and grad.shape == p.shape
        if None in places or not (fits and mu_product.dtype in _DIALECTS and mu_product.is_cpu and step.is_cpu):
            return None
        # To make views takes longer than a step of a small tensor. They hold no memory, and are good for whatever
        # lies in the same places.
        views = known_views.get(places)
        if views is None:
            if p.dtype not in _TYPE_STRINGS or not _are_alike(places):
                return None
            views = tuple(map(_flat, tensors))
        self._views[places] = views
        return views


@functools.cache
def form_of(cls: type) -> type:
    """The subclass of `cls`, which is one of NAdamOfArrays, that is an optimizer of tensors."""
    if issubclass(cls, NAdam):
        return cls
    if cls is NAdamOfArrays:
        return NAdam
    # A class made here cannot be found by its name, which is how pickle refers to classes.
    copyreg.pickle(type(cls), _reduced)
    # What a method of `cls` finds by super() is the form for tensors, which comes before that for arrays.
    attributes = ("__module__", "__qualname__", "__doc__")
    return type(cls)(cls.__name__, (cls, NAdam), {"_form_of": cls, **{name: getattr(cls, name) for name in attributes}})


def _reduced(cls):
    return (form_of, (vars(cls)["_form_of"],)) if "_form_of" in vars(cls) else cls.__qualname__


def as_tensors(state_dict: Mapping) -> dict:
    """A state with tensors in place of arrays, which are copied."""
    state = {
        key: {name: _as_tensor(value) for name, value in entry.items()} if isinstance(entry, Mapping) else entry
        for key, entry in state_dict["state"].items()
    }
    return {**state_dict, "state": state}


def _as_tensor(value):
    # The copy keeps the order of the axes in memory, which torch.tensor does not.
    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value


def _scalars(group):
    """A function from the state of a tensor to the scalars of its step; None if the kernel cannot take the group."""
    if torch.compiler.is_compiling() or group["capturable"] or group["differentiable"]:
        return None
    try:
        numbers = float(group["lr"]), *group["betas"], *map(group.__getitem__, _NUMBERS)
        # A tensor may change without being another one.
        make = _scalars_of if {type(number) for number in numbers} <= {float, int, bool} else _scalars_of.__wrapped__
        return make(*numbers)
    except (TypeError, ValueError):
        return None


_NUMBERS = ("eps", "momentum_decay", "weight_decay", "decoupled_weight_decay", "maximize")


@functools.lru_cache(256, typed=True)
def _scalars_of(rate, beta_1, beta_2, *numbers):
    hyper = hyperparameters_of({"betas": (beta_1, beta_2), **dict(zip(_NUMBERS, numbers, strict=True))})

    @functools.lru_cache(16)
    def scalars(dtype, step, mu_product):
        mu_product, scalars = _DIALECTS[dtype].scalars(hyper, rate, step, mu_product)
        return mu_product, scalars._replace(gradient_factor=-1.0 if hyper.maximize else 1.0)

    return scalars


def _is_on_gpu(tensor):
    return tensor.is_cuda and torch.version.cuda is not None


def _suits_gpus(p, grad, exp_avg, exp_avg_sq, mu_product, step):
    """Whether the kernel for GPUs can take a tensor; not if Numba cannot launch it here."""
    if not (_is_on_gpu(p) and p.dtype in _TYPE_STRINGS and mu_product.dtype in _DIALECTS):
        return False
    tensors = p, grad, exp_avg, exp_avg_sq
    if not all(_is_nothing_but_numbers(tensor) and _is_dense(tensor) for tensor in tensors):
        return False
    are_alike = all(
        tensor.dtype is p.dtype and tensor.shape == p.shape and tensor.device == p.device for tensor in tensors
    )
    has_same_order = exp_avg.stride() == exp_avg_sq.stride() == p.stride()
    return are_alike and has_same_order and mu_product.is_cpu and step.is_cpu and _numba_has_gpus()


@functools.cache
def _numba_has_gpus():
    """Whether Numba can launch kernels; loads CUDA, once there is a tensor on a GPU."""
    from nadam_numba import gpu

    return gpu.missing() is None


def _place(tensor):
    """Where and how the numbers of a tensor lie in memory; None if they do not simply fill a stretch of it."""
    if not (_is_plain(tensor) and _is_dense(tensor)):
        return None
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _are_alike(places):
    """Whether the kernel can go through them side by side."""
    return len({place[1:] for place in places}) == 1


def _is_plain(tensor):
    """Whether a tensor is nothing but numbers in the memory of the CPU."""
    return tensor.is_cpu and _is_nothing_but_numbers(tensor)


def _is_nothing_but_numbers(tensor):
    return (
        type(tensor) in _TYPES
        and tensor.layout is torch.strided
        and not (tensor.is_conj() or tensor.is_neg() or tensor.is_inference() or tensor._is_zerotensor())
    )


def _is_dense(tensor):
    """Whether its elements fill a stretch of memory, each once."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length > 1:
            if stride != expected:
                return False
            expected *= length
    return True


def _flat(tensor):
    """The numbers of a dense tensor in the order they have in memory; good as long as the tensor keeps that memory.

    Tensor.numpy would keep the memory itself, but forbid for ever to resize it.
    """
    _check_storage(tensor)
    interface = {
        "data": (tensor.data_ptr(), False),
        "shape": (tensor.numel() * (2 if tensor.is_complex() else 1),),
        "typestr": _TYPE_STRINGS[tensor.dtype],
        "version": 3,
    }
    return np.asarray(types.SimpleNamespace(__array_interface__=interface))


def _check_storage(tensor):
    held = tensor.untyped_storage().nbytes()
    if tensor.storage_offset() * tensor.itemsize + tensor.nbytes > held:
        raise RuntimeError(f"a tensor of shape {tuple(tensor.shape)} has a storage of {held} bytes: that is too small")


def _span(tensor):
    start = tensor.data_ptr()
    return start, start + tensor.nbytes


def _gradient(grad, p, spans):
    """A gradient in the order of its parameter, safe from the step, and its numbers, which do not keep its memory."""
    grad = _safe_gradient(grad, p, spans)
    return grad, _flat(grad)


def _safe_gradient(grad, p, spans):
    if grad.stride() != p.stride():
        grad = torch.empty_like(p, requires_grad=False).copy_(grad.detach())
    elif overlaps(_span(grad), spans):
        grad = grad.clone()
    return grad


def _count(scalars, mu_product, step):
    """The scalars of the next step of a tensor, which counts from now on as made."""
    step.fill_(step.item() + 1.0)
    product, numbers = scalars(mu_product.dtype, step.item(), mu_product.item())
    mu_product.fill_(product)
    return numbers


def _step_by_kernel(rows):
    spans = ordered_spans(_span(row[0]) for _, _, row in rows)
    gradients = [_gradient(row[1], row[0], spans) for _, _, row in rows]
    for (scalars, views, (*_, mu_product, step)), (_, gradient) in zip(rows, gradients, strict=True):
        numbers = _count(scalars, mu_product, step)
        cpu.update_for(gradient.size, TORCH.order)(*views, None, None, None, gradient, None, *numbers)
    # Autograd does not see what the kernel writes.
    increment_version([tensor for _, _, (p, _, *moments, _, _) in rows for tensor in (p, *moments)])


def _step_by_torch(group, has_complex, rows):
    nadam(
        *map(list, zip(*rows, strict=True)),
        has_complex=has_complex,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"],
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        momentum_decay=group["momentum_decay"],
        decoupled_weight_decay=group["decoupled_weight_decay"],
        maximize=group["maximize"],
        foreach=group["foreach"],
        capturable=group["capturable"],
        differentiable=group["differentiable"],
    )
