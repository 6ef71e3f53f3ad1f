"""Amounts for people: durations, sizes and counts in at most seven characters."""

_DURATIONS = ((365.25 * 86_400, "years"), (86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def format_seconds(seconds: float | None) -> str:
    """Return a duration, such as `1.5 h`; a question mark if it is unknown."""
    if seconds is None:
        return "?"
    if seconds <= 0:
        return "0 s"
    size, unit = next((d for d in _DURATIONS if seconds >= 2 * d[0]), _DURATIONS[-1])
    return f"{_digits(seconds / size)} {unit}"


def format_bytes(num_bytes: float | None) -> str:
    """Return a size in powers of 1000, such as `230 MB`; a question mark if it is unknown."""
    if num_bytes is None:
        return "?"
    amount, unit = float(num_bytes), _SIZES[0]
    for unit in _SIZES:
        if amount < 999.5 or unit == _SIZES[-1]:
            break
        amount /= 1000
    return f"{_digits(amount) if unit != _SIZES[0] else round(amount)} {unit}"


def _digits(amount: float) -> str:
    """Return two or three significant digits, without an exponent."""
    if amount >= 99.5:
        return f"{amount:,.0f}"
    return (
        f"{amount:.0f}" if amount >= 9.95 else f"{amount:.2g}" if amount < 0.1 else f"{amount:.1f}"
    )
