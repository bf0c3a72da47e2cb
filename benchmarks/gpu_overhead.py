"""Python's share of a step on a GPU, measured without one: in Numba's simulator, its launches and copies left out.

    python benchmarks/gpu_overhead.py

Each step of a small array on a card takes this long plus a copy and a launch. Arrays are those of Numba's simulator,
which take longer to tell where they are than those on a card; tensors are torch's on the host, taken for the GPU's,
where torch is installed. Medians over rounds in which the contenders take turns.
"""

import os
import statistics
import time

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

import numpy as np
from numba import cuda  # noqa: TID251

from nadam_numba import NAdam, info
from nadam_numba.gpu_arrays import device

ROUNDS = 25
COUNTS = 1, 2000


def leave_out_the_card():
    """Let launches and copies do nothing."""
    device.launch_blocks = lambda *arguments, **settings: None
    type(cuda.to_device(np.ones(1))).copy_to_device = lambda *arguments, **settings: None


def steps_of_arrays(count):
    """Steps of so many arrays: given gradients, and with the optimizer's own."""
    arrays, gradients = ([cuda.to_device(np.ones(10, np.float32)) for _ in range(count)] for _ in range(2))
    own, given = NAdam(arrays), NAdam([cuda.to_device(np.ones(10, np.float32)) for _ in range(count)])
    own.gradients  # noqa: B018 - makes them
    return {"NAdam": lambda: given.step(gradients), "NAdam, its own gradients": own.step}


def step_of_tensors(count):
    """A step of the optimizer for torch, which takes the CPU's tensors for the GPU's."""
    import torch

    from nadam_numba.compat import _torch_gpus, _torch_tensors
    from nadam_numba.compat.torch import NAdam as TorchNAdam

    _torch_tensors._is_on_gpu = lambda tensor: True
    _torch_gpus._stream_of = lambda where: 0
    tensors = [torch.ones(10, requires_grad=True) for _ in range(count)]
    for tensor in tensors:
        tensor.grad = torch.ones(10)
    return {"compat.torch.NAdam": TorchNAdam(tensors).step}


def contenders(count):
    """The steps of so many arrays that can be measured here, by name."""
    found = steps_of_arrays(count)
    try:
        return found | step_of_tensors(count)
    except ImportError:
        return found


def microseconds(steps, calls):
    """Of each step, the median over rounds of its mean over so many calls."""
    samples = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            begin = time.perf_counter()
            for _ in range(calls):
                step()
            samples[name].append((time.perf_counter() - begin) / calls * 1e6)
    return {name: statistics.median(values) for name, values in samples.items()}


def main():
    every = {count: contenders(count) for count in COUNTS}
    for steps in every.values():
        for step in steps.values():
            for _ in range(3):  # checks all that is checked once
                step()
    leave_out_the_card()
    print(f"Python's time of a step without the card, {info.cpu_name()}")
    for count, steps in every.items():
        for name, time_of_step in microseconds(steps, max(3, 1000 // count)).items():
            print(f"    {count:5} x 10 float32  {name:26}{time_of_step:10.1f} us")


if __name__ == "__main__":
    main()
