"""The score in C by ctypes: one machine, window after window."""

import ctypes

import numpy as np
from building import RUNTIME, compile_shared, write_config

SOURCES = [RUNTIME / f"fedtiny_{name}.c" for name in ("score", "alarm", "learn")]
VERDICTS = ("learning", "still", "normal", "anomalous")


def structure(name, *fields):
    return type(name, (ctypes.Structure,), {"_fields_": fields})


class Score:
    """``section``: what ``machine_bytes`` gives. Values go in and come out as numbers, whatever their type in C."""

    def __init__(self, folder, *, fixed_point):
        self.unit = 2.0**-16 if fixed_point else 1
        self.type, value = (np.int32, ctypes.c_int32) if fixed_point else (np.float32, ctypes.c_float)
        u8, u16, u32, pointer = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_void_p
        self.Codes = structure("Codes", ("factor", value), ("zero_point", ctypes.c_int8))
        vectors = [(f"vector{i}", pointer) for i in range(7)]
        scalars = [(name, value) for name in ("threshold", "clear", "drift_limit", "still_below")]
        self.Machine = structure("Machine", ("features", u16), ("rank", u16), *vectors, *scalars)
        self.Alarm = structure(
            "Alarm", ("state", ctypes.c_int), ("votes", u8), ("window", u8), ("over", u32), ("quiet", u32)
        )
        self.Scorer = structure("Scorer", ("machine", pointer), ("centre", pointer), ("alarm", self.Alarm))
        told = [(name, value) for name in ("score", "level", "threshold")]
        self.Finding = structure(
            "Finding",
            *[("verdict", ctypes.c_int), ("alarm", ctypes.c_int), ("changed", ctypes.c_bool), ("learned", u8)],
            *told,
        )
        self.c = compile_shared(folder, SOURCES, write_config(folder, fixed_point=fixed_point))
        self.c.fedtiny_mean_square.restype = value
        self.c.fedtiny_still.restype = ctypes.c_bool

    def values(self, numbers):
        """A buffer in C's type, for functions that work in place."""
        if self.type is np.float32:
            return np.array(numbers, np.float32)
        return np.rint(np.clip(np.array(numbers, np.float64) / self.unit, -(2**31), 2**31 - 1)).astype(np.int32)

    def use(self, section, features, *, votes=3, window=5):
        """Open a machine section and score by it; the status."""
        self.section = np.frombuffer(section, np.uint32).copy()  # aligned
        self.machine, self.scorer = self.Machine(), self.Scorer()
        status = self.c.fedtiny_machine_open(
            ctypes.byref(self.machine), _at(self.section), ctypes.c_size_t(len(section)), features
        )
        if status == 0:
            self.centre = np.zeros(features, self.type)
            self.scorer.centre = self.centre.ctypes.data
            assert self.c.fedtiny_alarm_begin(ctypes.byref(self.scorer.alarm), votes, window) == 0
            self.c.fedtiny_scorer_use(ctypes.byref(self.scorer), ctypes.byref(self.machine))
        return status

    def codes(self, factor, zero_point):
        return self.Codes(factor, zero_point)

    def still(self, values):
        return self.c.fedtiny_still(ctypes.byref(self.machine), _at(values))

    def standardise(self, codes, values):
        """The network's inputs; ``values`` become z."""
        inputs = np.zeros(len(values), np.int8)
        self.c.fedtiny_standardise(ctypes.byref(self.machine), ctypes.byref(codes), _at(values), _at(inputs))
        return inputs

    def residual(self, codes, outputs, values):
        self.c.fedtiny_residual(ctypes.byref(codes), _at(outputs), _at(values), len(values))

    def judge(self, values):
        """The finding; ``values`` become away."""
        finding = self.Finding()
        self.c.fedtiny_judge(ctypes.byref(self.scorer), _at(values), ctypes.byref(finding))
        return finding

    def mean_square(self, values):
        return self.c.fedtiny_mean_square(_at(values), len(values))


def _at(array):
    return ctypes.c_void_p(array.ctypes.data)
