"""Every run of the tests compiles anew, in a cache folder of its own: the tests read compiled code's assembly."""

import atexit
import os
import shutil
import signal
import tempfile

_cache = tempfile.mkdtemp(prefix="nadam_numba_tests_")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
os.environ["NUMBA_CACHE_DIR"] = _cache  # before numba is imported

# A script's command with "&" behind it starts with interrupts ignored, and some tests interrupt what they run.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
