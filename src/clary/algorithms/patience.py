"""Early stopping."""

from __future__ import annotations

import numpy as np

from .checkpoints import Learnt


class Patience(Learnt):
    """Whether something still gets better: by more than ``tolerance`` of itself, at least every so many looks.

    With no number of looks it is never over.
    """

    LEARNT = ("best", "best_look", "_looked")

    def __init__(self, looks: int | None, tolerance: float = 0.0):
        self._looks = looks
        self._tolerance = tolerance
        self.best = np.inf
        self.best_look = 0  # counted from 0
        self._looked = 0

    def better(self, value: float) -> bool:
        """Take a value, of which less is better; whether it is the best so far."""
        self._looked += 1
        if value < self.best - self._tolerance * abs(self.best if np.isfinite(self.best) else 0.0):
            self.best, self.best_look = value, self._looked - 1
            return True
        return False

    @property
    def over(self) -> bool:
        """Whether it has not got better for too long."""
        return bool(self._looks) and self._looked - 1 - self.best_look >= (self._looks or 0)
