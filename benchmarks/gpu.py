"""Steps on a GPU beside the card's own copy and torch's optimizers: checked first, then timed.

    python benchmarks/gpu.py [--quick] [--output FILE]

It needs a card and the extra ``nadam_numba[cuda]``, and no network; docs/gpu.md tells how to carry both to a machine
without one. torch is measured beside where it is installed with CUDA. Times are medians over rounds in which the
contenders take turns, between two events on the card unless it says otherwise.
"""

import argparse
import datetime
import json
import math
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np
from numba import njit

from nadam_numba import NAdam, gpu, info, minimize_batch

OUTPUT = pathlib.Path(__file__).parent / "results" / "gpu.json"
ULP_PER_STEP = 4
CHECKED = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled_weight_decay": True},
    {"amsgrad": True},
    {"maximize": True, "nesterov": False},
    {"clipvalue": 0.3},
    {"clipnorm": 0.5},
    {"global_clipnorm": 0.5},
    {"use_ema": True, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 3},
]


def check(steps=60, sizes=(1, 5, 4096, 10_007)):
    """Compare steps with those on the host, for each option: the largest ulp per step; AssertionError if too large."""
    from numba import cuda

    generator = np.random.default_rng(0)
    worst = 0.0
    for dtype in (np.float32, np.float64):
        for options in CHECKED:
            params = [generator.standard_normal(size).astype(dtype) for size in sizes]
            arrays = [cuda.to_device(p) for p in params]
            optimizer, reference = NAdam(arrays, **options), NAdam(params, **options)
            for step in range(1, steps + 1):
                gradients = [generator.standard_normal(p.size).astype(dtype) for p in params]
                optimizer.step([cuda.to_device(g) for g in gradients])
                reference.step(gradients)
                for array, p in zip(arrays, params, strict=True):
                    difference = np.abs(array.copy_to_host().astype(np.float64) - p).max()
                    ulps = difference / float(np.spacing(np.abs(p).max())) / step
                    worst = max(worst, ulps)
                    assert ulps <= ULP_PER_STEP, (dtype.__name__, options, step, ulps)
    return worst


def sanitize(tool):
    """What compute-sanitizer says of the checks: "clean", what it found, or why it could not be asked."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return "not measured: compute-sanitizer is not on the path"
    command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, __file__, "--check", "--steps", "4"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=900)
    return "clean" if process.returncode == 0 else (process.stdout + process.stderr)[-1000:]


def seconds_of(contenders, rounds, least=0.02):
    """The median seconds of a call of each contender, by events on the card; they take turns."""
    from numba import cuda

    calls = {}
    for name, run in contenders.items():
        for _ in range(3):
            run()
        cuda.synchronize()
        begin = time.perf_counter()
        run()
        cuda.synchronize()
        calls[name] = max(1, round(least / (time.perf_counter() - begin)))
    samples = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start, stop = cuda.event(), cuda.event()
            start.record()
            for _ in range(calls[name]):
                run()
            stop.record()
            stop.synchronize()
            samples[name].append(start.elapsed_time(stop) / 1e3 / calls[name])
    return {name: statistics.median(values) for name, values in samples.items()}


def wall_seconds_of(contenders, rounds, calls=200):
    """The median seconds that Python takes for a call, the card being idle; the queue is never full."""
    from numba import cuda

    samples = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            run()
            cuda.synchronize()
            begin = time.perf_counter()
            for _ in range(calls):
                run()
            samples[name].append((time.perf_counter() - begin) / calls)
            cuda.synchronize()
    return {name: statistics.median(values) for name, values in samples.items()}


def stepping(size, dtype, **options):
    """A function that makes a step of one array of Numba's, and the bytes that the step has to move."""
    from numba import cuda

    parameter = cuda.to_device(np.ones(size, dtype))
    gradient = cuda.to_device(np.full(size, 0.1, dtype))
    optimizer = NAdam(parameter, **options)
    arrays = 7 + 2 * bool(options.get("amsgrad")) + 2 * bool(options.get("use_ema"))
    arrays += "global_clipnorm" in options
    return (lambda: optimizer.step(gradient)), arrays * size * np.dtype(dtype).itemsize


def measure_bandwidth(size, rounds, least=0.02):
    """Steps of one large array beside a copy on the card."""
    from numba import cuda

    found = []
    for dtype, options in [
        (np.float32, {}),
        (np.float32, {"amsgrad": True}),
        (np.float32, {"global_clipnorm": 1.0}),
        (np.float64, {}),
    ]:
        count = size if dtype is np.float32 else size // 2
        source = cuda.to_device(np.zeros(count, dtype))
        target = cuda.device_array_like(source)
        run, moved = stepping(count, dtype, **options)
        seconds = seconds_of({"copy": lambda t=target, s=source: t.copy_to_device(s), "step": run}, rounds, least)
        rates = 2 * source.nbytes / seconds["copy"], moved / seconds["step"]
        found.append(
            {
                "what": f"{count:.0e} {np.dtype(dtype).name} {options or ''}".strip(),
                "seconds": seconds,
                "bytes": {"copy": 2 * source.nbytes, "step": moved},
                "share of the copy's rate": rates[1] / rates[0],
            }
        )
        del source, target, run
    return found


def torch_contenders(shapes):
    """Steps of tensors by torch's optimizers and by ours; each has tensors of its own."""
    import torch
    from numba import cuda

    from nadam_numba.compat.torch import NAdam as TorchNAdam

    def tensors():
        made = [torch.ones(shape, device="cuda", requires_grad=True) for shape in shapes]
        for tensor in made:
            tensor.grad = torch.full_like(tensor, 0.1)
        return made

    native = NAdam([cuda.to_device(np.ones(shape, np.float32)) for shape in shapes])
    for gradient in native.gradients:
        gradient.copy_to_device(np.full(gradient.shape, 0.1, np.float32))
    compiled = torch.optim.NAdam(tensors(), foreach=True, capturable=True)
    compiled_step = torch.compile(compiled.step)
    return {
        "compat.torch.NAdam": TorchNAdam(tensors()).step,
        "NAdam, its own gradients": native.step,
        "torch NAdam foreach": torch.optim.NAdam(tensors(), foreach=True).step,
        "torch Adam fused": torch.optim.Adam(tensors(), fused=True).step,
        "torch.compile NAdam": lambda: compiled_step(),
    }


def measure_torch(what, shapes, rounds):
    """Ours beside torch's: seconds, and how many times as long theirs take."""
    contenders = torch_contenders(shapes)
    failed = {}
    for name in list(contenders):
        try:
            contenders[name]()
        except Exception as error:  # the compiler of torch needs tools that may not be there
            failed[name] = f"{type(error).__name__}: {str(error)[:200]}"
            del contenders[name]
    seconds = seconds_of(contenders, rounds)
    ours = seconds["compat.torch.NAdam"]
    return {"what": what, "seconds": seconds, "ratios": {k: s / ours for k, s in seconds.items()}, "failed": failed}


@njit
def misfit(parameters, gradient, data, times):
    """Half the sum of squares of a decay's residuals, which also writes its gradient."""
    value = 0.0
    for i in range(times.size):
        decay = math.exp(-parameters[1] * times[i])
        residual = parameters[0] * decay - data[i]
        value += 0.5 * residual * residual
        gradient[0] += residual * decay
        gradient[1] -= residual * parameters[0] * decay * times[i]
    return value


def measure_batch(rows, rounds):
    """Fits per second on the card and on the host's cores, and how far apart their parameters are."""
    generator = np.random.default_rng(0)
    times, truth = np.linspace(0.0, 3.0, 16), generator.uniform(0.5, 2.0, (rows, 2))
    data = truth[:, :1] * np.exp(-truth[:, 1:] * times) + 0.02 * generator.standard_normal((rows, 16))
    ends, rates = {}, {}
    for device in ("cuda", "cpu"):
        seconds = []
        for _ in range(rounds + 1):  # the first compiles
            begin = time.perf_counter()
            result = minimize_batch(misfit, np.ones((rows, 2)), times, data, jac=True, device=device)
            seconds.append(time.perf_counter() - begin)
        ends[device], rates[device] = result.x, rows / min(seconds[1:])
    return {"fits per second": rates, "largest difference": float(np.abs(ends["cuda"] - ends["cpu"]).max())}


def count_launches(run):
    """How many kernels of ours a call launches."""
    from nadam_numba.gpu_arrays import device

    launch, noted = device.launch_blocks, []

    def noting(*arguments, **settings):
        noted.append(arguments[0])
        launch(*arguments, **settings)

    device.launch_blocks = noting
    try:
        run()
    finally:
        device.launch_blocks = launch
    return len(noted)


def measure_overhead(rounds, has_torch, calls=200):
    """What Python and the driver take for a step of a small array, made by Python or replayed from a graph."""
    run, _ = stepping(1000, np.float32)
    contenders = {"NAdam, Numba's array": run}
    found = {"launches": count_launches(run)}
    if has_torch:
        import torch

        from nadam_numba.compat.torch import NAdam as TorchNAdam

        parameter = torch.ones(1000, device="cuda", requires_grad=True)
        parameter.grad = torch.ones_like(parameter)
        contenders["compat.torch.NAdam"] = TorchNAdam([parameter]).step
        contenders["torch NAdam foreach"] = torch.optim.NAdam([parameter.detach().clone().requires_grad_()]).step
        tensor, gradient = torch.ones(1000, device="cuda"), torch.ones(1000, device="cuda")
        optimizer = NAdam(tensor, capturable=True)
        optimizer.step(gradient)
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            optimizer.step(gradient)
        before = optimizer.iterations
        graph.replay()
        torch.cuda.synchronize()
        found["iterations counted by a replay"] = optimizer.iterations - before
        contenders["NAdam, replayed from a graph"] = graph.replay
    found["wall seconds"] = wall_seconds_of(contenders, rounds, calls)
    return found


def has_torch_with_cuda():
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def print_table(report):
    print(f"largest difference from the host: {report['check']['largest ulp per step']:.2f} ulp per step")
    for tool, result in report["sanitizer"].items():
        print(f"compute-sanitizer {tool}: {result}")
    print(f"\n{'one array':42}{'step':>12}{'copy':>12}{'of the rate':>14}")
    for case in report["bandwidth"]:
        seconds = case["seconds"]
        share = case["share of the copy's rate"]
        print(f"{case['what']:42}{seconds['step'] * 1e3:9.3f} ms{seconds['copy'] * 1e3:9.3f} ms{share:13.1%}")
    for case in report["torch"]:
        print(f"\n{case['what']}")
        for name, seconds in case["seconds"].items():
            print(f"    {name:38}{seconds * 1e3:9.3f} ms{case['ratios'][name]:10.2f} x ours")
        for name, why in case["failed"].items():
            print(f"    {name:38}not measured: {why}")
    print("\na step of 1,000 numbers, Python's time")
    for name, seconds in report["overhead"]["wall seconds"].items():
        print(f"    {name:38}{seconds * 1e6:9.1f} us")
    print("\nfits of two parameters by minimize_batch")
    for name, rate in report["batch"]["fits per second"].items():
        print(f"    {name:38}{rate:12.0f} per second")
    print(f"    largest difference of a parameter     {report['batch']['largest difference']:12.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, and fewer rounds")
    parser.add_argument("--check", action="store_true", help="only compare with the host")
    parser.add_argument("--steps", type=int, default=60, help="steps of the comparison")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="where the JSON goes")
    options = parser.parse_args()
    lacking = gpu.missing()
    if lacking is None and gpu.SIMULATES:
        lacking = "NUMBA_ENABLE_CUDASIM is set, and the simulator's times say nothing"
    if lacking is not None:
        sys.exit(f"nothing measured: {lacking}")
    worst = check(options.steps)
    if options.check:
        print(f"largest difference from the host: {worst:.2f} ulp per step")
        return
    size, rounds = (10**7, 5) if options.quick else (10**8, 21)
    has_torch = has_torch_with_cuda()
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {"CPU": info.cpu_name(), "cores": info.usable_cores(), "CUDA": info.cuda()},
        "versions": info.versions(("numba-cuda", "torch", "cupy-cuda13x", "cuda-bindings")),
        "check": {"steps": options.steps, "largest ulp per step": worst},
        "sanitizer": {tool: sanitize(tool) for tool in ("memcheck", "racecheck")},
        "bandwidth": measure_bandwidth(size, rounds),
        "torch": [],
        "overhead": measure_overhead(rounds, has_torch),
        "batch": measure_batch(size // 100, 3),
    }
    if has_torch:
        report["torch"] = [
            measure_torch(f"1 x {size:.0e} float32", [(size,)], rounds),
            measure_torch("2,000 x 1,000 float32", [(1000,)] * 2000, rounds),
        ]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print_table(report)


if __name__ == "__main__":
    main()
