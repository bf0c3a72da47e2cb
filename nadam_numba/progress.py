"""A bar that shows how far a long run is. tqdm is imported when the first bar is made."""

import contextlib


@contextlib.contextmanager
def progress_bar(description):
    """Show a bar, which is closed however the block ends.

    Parameters
    ----------
    description : str

    Yields
    ------
    function
        ``show(iterations, value, norm)`` moves the bar to a number of iterations; value and norm are numbers to show.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """
    # A run mostly ends before its last allowed iteration: a percentage would mislead.
    with _bar(desc=description, unit=" iterations") as bar:

        def show(iterations, value, norm):
            bar.set_postfix_str(f"f={value:.6g}, |g|={norm:.2g}", refresh=False)
            bar.update(iterations - bar.n)

        yield show


@contextlib.contextmanager
def rows_bar(description, count):
    """Show how many of the rows of a batch are done.

    Parameters
    ----------
    description : str
    count : int

    Yields
    ------
    function
        ``show(done)`` moves the bar to a number of rows.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """
    with _bar(desc=description, total=count, unit=" rows") as bar:

        def show(done):
            bar.update(done - bar.n)

        yield show


def _bar(**settings):
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install 'nadam_numba[progress]'") from error
    return tqdm(**settings)


def bar_over(items):
    """Iterate over a list behind a bar; without one where tqdm is not installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return iter(items)
    return iter(tqdm(items, unit=" cases"))
