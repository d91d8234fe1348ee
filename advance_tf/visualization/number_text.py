"""Numbers as they stand in pages and figures."""

import math


def percent(share: float, digits: int = 1) -> str:
    """A share in [0, 1] as percent without its sign; a dash where undefined."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, a true minus."""
    # Adding 0 makes of −0.0, which rounding may leave, a plain 0.
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def probability(value: float) -> str:
    """A probability with the digits that count: 0.9993, 0.83, 0.0031, <0.0001."""
    if value >= 0.995:
        return f"{value:.4f}"
    if value < 1e-4:
        return "<0.0001"
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"
