"""The packages that have NAdam with a fixed learning rate, on a grid of rates."""

import importlib.util

import numpy as np

from .solvers import Solver

# Two rates to the decade.
RATES = tuple(float(f"{rate:.3g}") for rate in np.geomspace(1e-4, 10.0, 11))
PACKAGES = {"torch": "torch.optim.NAdam", "optax": "optax.nadam"}
LARGEST_BUDGET = 2_000


def installed():
    """Those of the packages that are there."""
    return [package for package in PACKAGES if importlib.util.find_spec(package)]


def solver_name(package, rate):
    """As a solver's results are filed."""
    return f"{PACKAGES[package]}, rate {rate:g}"


def is_peer(name):
    """Whether a solver of that name is one of the peers."""
    return name.startswith(tuple(PACKAGES.values()))


def solvers_for(packages):
    """One solver for each package and rate; they have no bounds."""
    makers = {"torch": _torch, "optax": _optax}
    return [
        Solver(solver_name(package, rate), makers[package](rate), takes_bounds=False, largest_budget=LARGEST_BUDGET)
        for package in packages
        for rate in RATES
    ]


def _torch(rate):
    def minimize(objective, z0, args, bounds, budget):
        import torch

        torch.set_num_threads(1)
        z = torch.tensor(z0, dtype=torch.float64)
        optimizer = torch.optim.NAdam([z], lr=rate)
        while np.all(np.isfinite(z.numpy())):
            z.grad = torch.from_numpy(objective(z.numpy().copy(), *args)[1])
            optimizer.step()

    return minimize


def _optax(rate):
    def minimize(objective, z0, args, bounds, budget):
        import jax
        import optax

        with jax.enable_x64(True):
            step = _optax_step()
            z = np.array(z0)
            state = optax.nadam(rate).init(z)
            while np.all(np.isfinite(z)):
                z, state = step(rate, z, objective(z, *args)[1], state)
                z = np.array(z)

    return minimize


_steps = []


def _optax_step():
    """One step, compiled once for all rates."""
    if not _steps:
        import jax
        import optax

        def step(rate, z, gradient, state):
            updates, state = optax.nadam(rate).update(gradient, state, z)
            return optax.apply_updates(z, updates), state

        _steps.append(jax.jit(step))
    return _steps[0]
