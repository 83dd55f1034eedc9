"""Networks outside of torch: exported to other runtimes, compared with them, or compiled to C.

Nothing is imported here: a process that only runs a file in its runtime, as the bench's do, must not load torch.
"""
