"""The one error this room raises."""


class VariantError(ValueError):
    """An architecture that cannot be built; the message says which number is wrong and what would do."""
