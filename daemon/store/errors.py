"""What can go wrong with the store, named by what the caller must do next.

The one law: each error says whether anything was committed, and never carries a row's content.
"""


class StoreError(Exception):
    """Any trouble with the store. `reason` is one sentence for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StoreUnavailableError(StoreError):
    """Disk full, locked, read-only, gone: nothing was committed, or it is not known. Try again; it may come back."""


class StoreInUseError(StoreUnavailableError):
    """Another running daemon owns this store."""


class StoreDamagedError(StoreUnavailableError):
    """The store is not what a ticketd wrote, or no longer. Nothing is begun anew over it: a person must look."""


class StoreVersionError(StoreError):
    """The store was written by another version of ticketd: its revision is not one this version knows."""

    def __init__(self, found: str, known: str, where: str) -> None:
        super().__init__(
            f"{where} is at revision {found}, which this ticketd does not know (its own is {known}): "
            "it was written by a newer ticketd; run that version, or restore a backup made by this one"
        )
        self.found = found
        self.known = known


class ConflictError(StoreError):
    """A fence or a unique index refused: nothing was committed, caches have been dropped. Load and decide again."""


class ValueRefusedError(ConflictError):
    """A value that no store takes (U+0000, a lone surrogate, an integer beyond 64 bits). Nothing was committed.

    Deciding again gives the same: the batch must be taken apart and the culprit put into quarantine.
    """
