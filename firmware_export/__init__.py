"""A release as C99 for a microcontroller: the same model, to the bit.

``network`` reads the model (``operators`` names what it cannot be), ``rounding`` knows how interpreters round,
``packing`` brings weights into the order of the C kernels, ``features`` (with ``transform``) and ``scoring`` give the
constants before and behind the model, ``machine`` what an agent has learned of one machine, ``learning`` how firmware
learns it, ``check`` compares with the installed interpreter, ``image`` makes heads that are applied at run time,
``golden`` what a self-test must come to. ``generate`` and ``targets`` write it all out, ``export`` is the whole. The C
itself is in ``runtime``: fixed files that are the same in every export.
"""
