"""How far NAdam's float64 trajectories are from those of torch.optim.NAdam.

Both step the same 19 parameters with the same random gradients, 200 times, in 60 runs; the deviation is relative to
the largest parameter. torch keeps one scalar of its state, mu_product, in its default dtype: in float32 that alone
makes the difference, so both defaults are measured. Needs torch (``pip install ".[peers]"`` has it).

    python benchmarks/torch_deviation.py
"""

import numpy as np
import torch

import nadam_numba

RUNS, STEPS, SIZE = 60, 200, 19


def largest_deviation(seed, learning_rate):
    generator = np.random.default_rng(seed)
    ours = generator.standard_normal(SIZE)
    theirs = torch.tensor(ours, requires_grad=True)
    our_optimizer = nadam_numba.NAdam(ours, learning_rate)
    their_optimizer = torch.optim.NAdam([theirs], lr=learning_rate)
    deviation = 0.0
    for gradient in generator.standard_normal((STEPS, SIZE)):
        our_optimizer.step(gradient)
        theirs.grad = torch.tensor(gradient)
        their_optimizer.step()
        expected = theirs.detach().numpy()
        deviation = max(deviation, np.abs(ours - expected).max() / np.abs(expected).max())
    return deviation


def main():
    print(f"torch {torch.__version__}, nadam_numba {nadam_numba.__version__}, {RUNS} runs of {STEPS} steps")
    for dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        for learning_rate in (2e-3, 0.1):
            deviations = [largest_deviation(seed, learning_rate) for seed in range(RUNS)]
            print(
                f"torch default dtype {dtype}, learning rate {learning_rate}: "
                f"median {np.median(deviations):.1e}, largest {max(deviations):.1e}"
            )


if __name__ == "__main__":
    main()
