"""What a network is to the compiler: `ir.py` has the operations, `verify.py` their rules, `reference.py` their meaning in numpy."""
