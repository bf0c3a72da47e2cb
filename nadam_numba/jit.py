"""The compile policy, in one place: which flags, when to cache on disk, when to use threads.

Compiled functions are of two families:

- scalars and kernels call no code of the user's. They carry ``error_model="numpy"``, without which a division keeps
  a loop from being vectorised. They carry no fastmath: the kernels wait for memory, so it would buy nothing, and it
  would cost the promise that every way through the package gives the same bits. Kernels are cached on disk.
- drivers call the user's functions. They carry no flag at all, because flags leak into the functions a driver
  compiles, and no cache, because a function that takes functions never finds its entry again: except where it takes
  them by their addresses, as an address driver does.
"""

import collections
import contextlib
import functools
import hashlib
import multiprocessing
import os
import pathlib
import threading
import types
import weakref

import numba
from numba.core import cgutils
from numba.core.caching import FunctionCache, NullCache
from numba.core.errors import NumbaError
from numba.extending import intrinsic, is_jitted

# Number of elements from which an update runs in threads. benchmarks/crossover.py measures where two threads beat one:
# on an idle machine from 2**14 elements with OpenMP and TBB, from 2**20 to 2**22 with workqueue, whose launch takes
# 90 us. A margin is kept, for on a machine with busy cores a launch on OpenMP can take milliseconds.
PARALLEL_CROSSOVER = {"omp": 2**16, "tbb": 2**16, "workqueue": 2**20}


def scalar(function, makes_arrays=False, **bound):
    """Compile a function of scalars that kernels and drivers inline; the other parameters as in `kernel`."""
    return numba.njit(error_model="numpy", _nrt=makes_arrays)(bind(function, **bound))


def kernel(function, *source_modules, parallel=False, makes_arrays=False, is_inlined=False, **bound):
    """Compile a loop over arrays that calls no user code: the kernels' flags, cached on disk.

    Parameters
    ----------
    function : function
        Its ``prange`` loops become threads if `parallel`, plain loops if not; it may be compiled both ways.
    *source_modules : module
        The modules whose functions it calls. Numba's cache notices an edit of the function's own file only.
    parallel : bool
        Compile to threads.
    makes_arrays : bool
        Whether it allocates arrays, returns some, or calls what does. If not, it does without the counting of
        references to its arrays, each of which takes as long as an update of ten elements.
    is_inlined : bool
        Make it a part of what calls it: a call hands over each array as seven numbers, which takes as long as the work
        on a few elements.
    **bound : function
        Compiled functions that stand for global names of `function`, as plain functions cannot be called.
    """
    variant = ("parallel" if parallel else "serial", *_names(bound))
    flags = {"error_model": "numpy", "nogil": True, "parallel": parallel, "_nrt": parallel or makes_arrays}
    if is_inlined:
        variant += ("inlined",)
        flags["forceinline"] = True
    return _compiled_on_disk(bind(function, **bound), variant, source_modules, **flags)


def driver(function, parallel=False, **bound):
    """Compile a loop that calls the user's functions; its ``prange`` loops become threads if `parallel`."""
    copy = bind(function, **bound)
    return numba.njit(parallel=True)(copy) if parallel else numba.njit(copy)


def inlined_driver(function, **bound):
    """The same for what only other drivers call: it becomes a part of them, which halves the time to compile them."""
    return numba.njit(inline="always")(bind(function, **bound))


def address_driver(function, arguments, *source_modules, nogil=False, **bound):
    """Compile a loop once for all functions of the user's that have the same types, and cache it on disk.

    It takes their addresses, which costs some nanoseconds a call and spares compiling it for each of them. Numba would
    find the addresses itself, but takes 20 us for each function.

    Parameters
    ----------
    function : function
    arguments : tuple of numba.types.Type
        Those of its arguments, with `numba.types.int64` for an address.
    nogil : bool
        Let other threads of Python run meanwhile.
    *source_modules, **bound
        As in `kernel`; the functions of `bound` may call the user's, which they find with `function_at`. Their
        qualified names must tell all that makes them different.
    """
    # What a signature is filed under does not tell which functions are bound; several of them may have one name.
    variant, flags = ("address", *_names(bound)), {"nogil": True} if nogil else {}
    dispatcher = _compiled_on_disk(bind(function, **bound), variant, source_modules, **flags)
    dispatcher.compile(arguments)
    dispatcher.disable_compile()
    return dispatcher


# Of each compiled function: for types, the library that it was compiled into, and its address there.
_addresses = weakref.WeakKeyDictionary()


# Of each compiled function: the library of its code, and what stands for it since that is not its first one.
_present = weakref.WeakKeyDictionary()


def present(function):
    """A function with the code that `function` has now: itself, or a copy, once it has been compiled anew.

    To Numba, a function stays the same when it is compiled anew, and what has been compiled with it keeps its old code.
    """
    results = function.overloads.values()
    library = next(iter(results)).library if results else None
    known, copy = _present.get(function, (None, None))
    if known is not None and library is not None and known() is not library:
        copy = numba.jit(**function.targetoptions)(function.py_func)
    if library is not None:
        _present[function] = weakref.ref(library), copy
    return function if copy is None else copy


def address_of(function, function_type):
    """Where the code of a compiled function is, for as long as the function exists and is not compiled anew.

    Parameters
    ----------
    function : dispatcher
    function_type : numba.types.FunctionType

    Returns
    -------
    int or None
        None if the function does not take and return exactly these types.
    """
    arguments = function_type.signature.args
    if arguments not in function.overloads:
        try:
            function.compile(arguments)
        except (NumbaError, RuntimeError, TypeError):  # explicit signatures of which this is none; other parameters
            return None
    result = function.overloads[arguments]
    known = _addresses.setdefault(function, {})
    if function_type in known and known[function_type][0]() is result.library:
        return known[function_type][1]
    if result.signature.return_type != function_type.signature.return_type:
        return None
    address = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    known[function_type] = weakref.ref(result.library), address
    return address


def function_at(function_type):
    """Make a function for compiled code that turns an `address_of` into the function there.

    Parameters
    ----------
    function_type : numba.types.FunctionType
        Of the function at the address.
    """

    @intrinsic
    def as_function(typing_context, address):
        def generate(context, builder, signature, arguments):
            function = cgutils.create_struct_proxy(function_type)(context, builder)
            function.jit_addr = builder.inttoptr(arguments[0], function.jit_addr.type)
            return function._getvalue()

        return function_type(numba.types.int64), generate

    return as_function


def constant_address(address):
    """Make a function for compiled code that returns an `address_of`: code with it is not kept in the cache on disk.

    Parameters
    ----------
    address : int
    """

    @intrinsic
    def at(typing_context):
        def generate(context, builder, signature, arguments):
            pointer = context.add_dynamic_addr(builder, address, info="function")
            return builder.ptrtoint(pointer, context.get_value_type(numba.types.int64))

        return numba.types.int64(), generate

    return at


def is_compiled(function):
    """Whether compiled code can call `function`: it is jitted, and not in object mode."""
    return is_jitted(function) and not function.targetoptions.get("forceobj", False)


def may_use_threads(size):
    """Whether `use_threads` is worth asking for an array of `size` elements."""
    return size >= min(PARALLEL_CROSSOVER.values())


def use_threads(size):
    """Whether an array of `size` elements is better updated by several threads, and safely so."""
    if not may_use_threads(size):
        return False
    layer = _safe_threading_layer()
    return layer is not None and size >= PARALLEL_CROSSOVER[layer] and numba.get_num_threads() > 1


# How many of the last durations of a way count, and the share of the time that trying the slower way again may take.
_REMEMBERED_DURATIONS = 3
_SHARE_OF_TRIALS = 0.01
_LONGEST_WAIT = 10_000


class ThreadChoice:
    """Whether threads are of use for a piece of work that is done again and again, as its durations tell.

    Threads of GNU OpenMP wait for each other by spinning: where another process holds a core, each launch takes
    milliseconds. The environment variable GOMP_SPINCOUNT=0 cures it, but only from before the process starts.
    """

    __slots__ = ("_durations", "_wait")

    def __init__(self):
        self._durations = {way: collections.deque(maxlen=_REMEMBERED_DURATIONS) for way in (True, False)}
        self._wait = 0

    def pick(self) -> bool:
        """Whether to use threads the next time."""
        for way, durations in self._durations.items():
            if len(durations) < _REMEMBERED_DURATIONS:
                return way
        self._wait -= 1
        return self._is_quicker_with() if self._wait >= 0 else not self._is_quicker_with()

    def tell(self, with_threads: bool, seconds: float) -> None:
        """Take note of how long it took; the least of the last few times counts, for anything may slow one down."""
        self._durations[with_threads].append(seconds)
        if self._wait < 0:
            quicker, slower = sorted(map(self._least, (True, False)))
            self._wait = min(int(slower / (quicker * _SHARE_OF_TRIALS)), _LONGEST_WAIT)

    def _least(self, way):
        return min(self._durations[way], default=0.0)

    def _is_quicker_with(self):
        return self._least(True) <= self._least(False)


def threads_for_user_code(function, requested=None):
    """How many threads may call the user's compiled `function` at once; 1 where several could abort the process.

    Parameters
    ----------
    function : dispatcher
    requested : int, optional
        -1 means all cores. By default, as many as Numba's loops take now.
    """
    layer = _safe_threading_layer()
    # The workqueue layer aborts on a loop inside a loop. Whether a function that `function` calls has one is not to be
    # seen, so that there threads are used only on demand.
    is_nested = function.targetoptions.get("parallel", False)
    if layer is None or (layer == "workqueue" and (requested is None or is_nested)):
        return 1
    if requested is None:
        return numba.get_num_threads()
    return numba.config.NUMBA_NUM_THREADS if requested == -1 else min(requested, numba.config.NUMBA_NUM_THREADS)


def _was_forked():
    """Whether this process was forked from its parent and goes on with its parent's memory."""
    try:
        stat = pathlib.Path("/proc/self/stat").read_text()
    except OSError:  # not Linux: any child of multiprocessing may have been
        return multiprocessing.parent_process() is not None
    flags = int(stat.rpartition(")")[2].split()[6])
    return bool(flags & 0x40)  # PF_FORKNOEXEC


def threads_have_started():
    """Whether Numba has launched its threads, so that it knows how many are to be used."""
    try:
        return bool(numba.threading_layer())
    except ValueError:
        return False


# A process forked after GNU OpenMP has run is killed at its first parallel loop: one that is forked later than this
# import has another number, and one that was forked before may have taken over threads that its parent started.
_process = os.getpid()
_forked_with_threads = _was_forked() and threads_have_started()


def _safe_threading_layer():
    """The name of Numba's threading layer, or None where launching a loop on it could abort the process."""
    if os.getpid() != _process or _forked_with_threads:
        return None
    try:
        numba.get_num_threads()  # starts the threads, which settles the layer
    except ValueError:  # the layer the user asked for is not installed
        return None
    layer = numba.threading_layer()
    # The workqueue layer aborts when two threads launch loops at once.
    is_safe = layer != "workqueue" or threading.current_thread() is threading.main_thread()
    return layer if is_safe else None


def bind(function, **bound):
    """A copy of `function` that finds other functions under some of its global names."""
    names = {**function.__globals__, **bound} if bound else function.__globals__
    copy = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__doc__ = function.__doc__
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    return copy


class _Cache(NullCache):
    """Numba's cache on disk, for which a folder that is full, gone or damaged is a miss rather than an error.

    It looks for its folder when it is first used: Numba's own does so at import, by a file that it writes there for
    each function, and raises RuntimeError where it can write none.
    """

    def __init__(self, function):
        self._function = function

    @functools.cached_property
    def _files(self):
        try:
            return FunctionCache(self._function)
        except (OSError, RuntimeError):
            return NullCache()

    @property
    def cache_path(self):
        return self._files.cache_path

    def flush(self):
        with contextlib.suppress(OSError):
            self._files.flush()

    def load_overload(self, sig, target_context):
        try:
            return self._files.load_overload(sig, target_context)
        except Exception:
            self.flush()

    def save_overload(self, sig, data):
        with contextlib.suppress(OSError):
            self._files.save_overload(sig, data)


def _compiled_on_disk(copy, variant, modules, **flags):
    """Compile `copy`, of a function of the package, and keep its code on disk under a name of its own.

    Numba files its cache under the qualified name and ignores flags and callees there. So the name tells them, and
    the sources as they were when they were imported.
    """
    fingerprint = _fingerprint(copy.__globals__.get("__spec__"), *(module.__spec__ for module in modules))
    copy.__qualname__ = f"{copy.__qualname__}_{'_'.join(variant)}_{fingerprint}"
    dispatcher = numba.njit(**flags)(copy)
    if is_jitted(dispatcher) and fingerprint and os.environ.get("NADAM_NUMBA_CACHE") != "0":
        dispatcher._cache = _Cache(copy)
    return dispatcher


def _names(bound):
    """What tells the functions that are bound to another apart, by their qualified names: none or one short word."""
    names = " ".join(callee.__qualname__ for callee in bound.values())
    return (hashlib.sha256(names.encode()).hexdigest()[:16],) if bound else ()


def _fingerprint(*specs):
    """A digest of the sources of this module and others; None where they are not to be had, as in frozen apps."""
    digest = hashlib.sha256()
    for spec in (__spec__, *specs):
        try:
            digest.update(spec.loader.get_data(spec.origin))
        except (AttributeError, OSError):
            return None
    return digest.hexdigest()[:16]
