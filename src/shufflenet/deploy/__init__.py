"""Networks outside of torch: exported to other runtimes, or compiled to C."""

from shufflenet.deploy.compile import compile

__all__ = ["compile"]
