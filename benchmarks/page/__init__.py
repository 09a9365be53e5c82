"""One page of all results: a module a section, each from one or more files of ``benchmarks/results``."""
