"""Every run of the tests compiles anew, in a cache folder of its own: the tests read compiled code's assembly."""

import atexit
import os
import shutil
import tempfile

_cache = tempfile.mkdtemp(prefix="nadam_numba_tests_")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
os.environ["NUMBA_CACHE_DIR"] = _cache  # before numba is imported
