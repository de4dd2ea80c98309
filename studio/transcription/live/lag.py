"""Decides when to report that decoding lags behind the speaker."""

# Reported above the first lag, until it falls below the second.
REPORT_ABOVE_S = 3.0
CLEAR_BELOW_S = 1.0
# In between, it is reported again whenever it has changed by this much.
MIN_CHANGE_S = 2.0


class LagReport:
    """The lag in seconds that was last reported; 0: none."""

    def __init__(self) -> None:
        self._sent_s = 0.0

    def update(self, lag_s: float, interim_every_s: float) -> float | None:
        """The lag to report now, if it has changed noticeably.

        A lag of up to `interim_every_s`, the time between two interim texts, is none.
        """
        bound_s = CLEAR_BELOW_S if self._sent_s else REPORT_ABOVE_S
        shown_s = round(lag_s, 1) if lag_s > bound_s + interim_every_s else 0.0
        has_changed = bool(shown_s) != bool(self._sent_s)
        if not has_changed and abs(shown_s - self._sent_s) < MIN_CHANGE_S:
            return None
        self._sent_s = shown_s
        return shown_s
