"""A release as C99 for a microcontroller: the same model, to the bit.

``network`` reads the model, ``rounding`` knows how interpreters round, ``packing`` brings weights into the order of the
C kernels, ``features`` and ``scoring`` give the constants before and behind the model, ``machine`` what an agent has
learned of one machine, ``check`` compares with the installed interpreter, ``image`` makes heads that are applied at run
time, ``export`` writes it all. The C itself is in ``runtime``: fixed files that are the same in every export.
"""
