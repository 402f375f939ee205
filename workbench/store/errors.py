"""The exception of the store."""


class StoreError(Exception):
    """A run folder cannot be used or written. The message is one sentence for the user."""
