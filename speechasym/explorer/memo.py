"""What was computed for requests, kept up to a size; threads that want the same compute it once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Memo:
    """Results by key; those used longest ago are forgotten first.

    Args:
        megabytes: of arrays and bytes that are kept.
    """

    def __init__(self, megabytes: float) -> None:
        self._most, self._size = megabytes * 1e6, 0.0
        self._lock = threading.Lock()
        self._results: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()
        self._busy: dict[Hashable, threading.Lock] = {}

    def __call__(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return the result of a key, computed now unless it is kept."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key][0]
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            with self._lock:
                if key in self._results:  # by another thread, meanwhile
                    return self._results[key][0]
            try:
                result = compute()
                size = _bytes(result)
                with self._lock:
                    self._results[key] = result, size
                    self._size += size
                    while self._size > self._most and len(self._results) > 1:
                        self._size -= self._results.popitem(last=False)[1][1]
            finally:
                with self._lock:
                    self._busy.pop(key, None)
            return result

    def get(self, key: Hashable) -> Any:
        """Return the result of a key, None if it is not kept."""
        with self._lock:
            return self._results.get(key, (None, 0.0))[0]


def _bytes(result: Any) -> float:
    """Return about how many bytes of arrays a result holds."""
    if isinstance(result, dict):
        return sum(map(_bytes, result.values()))
    if isinstance(result, tuple | list):
        return sum(map(_bytes, result))
    return float(getattr(result, "nbytes", 0) or (len(result) if isinstance(result, bytes) else 64))
