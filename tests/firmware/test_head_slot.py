"""The head loader in C: whatever comes down the line, only a good image gets through, and it computes as it should."""

import ctypes
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from building import RUNTIME, SANITIZE, WARNINGS, compile_shared, run, tool, write_config
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.firmware import fuzz as fuzz_firmware
from fedtiny.model.head import Head
from firmware_export import rounding
from firmware_export.image import read_image, write_image
from firmware_export.network import Network, read_network

SOURCES = [RUNTIME / f"fedtiny_{name}.c" for name in ("head", "crc", "nn", "score", "alarm")]
OK, MORE, ARGUMENT, NOT_READY, FORMAT, SIZE = 0, 1, -1, -2, -3, -4
RELEASE, CHECKSUM, SIGNATURE, IN_USE, OLD = -5, -6, -7, -8, -9
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Layer(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint16) for name in ("inputs", "outputs")),
        *((name, ctypes.c_int8) for name in ("zero_point", "low", "high")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias", "multiplier", "shift")),
    ]


class Codes(ctypes.Structure):
    _fields_ = [("step", ctypes.c_float), ("zero_point", ctypes.c_int8)]


class LoadedHead(ctypes.Structure):
    _fields_ = [
        ("layer", Layer),
        ("codes", Codes),
        ("revision", ctypes.c_uint32),
        ("machine", ctypes.c_void_p),
        ("machine_bytes", ctypes.c_uint32),
    ]


class HeadBase(ctypes.Structure):
    _fields_ = [("layer", ctypes.POINTER(Layer)), ("release", ctypes.c_char_p), ("revision", ctypes.c_uint32)]


class Heads(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("next", "looked_at", "used")]


VERIFY = ctypes.CFUNCTYPE(
    ctypes.c_bool, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint8), ctypes.c_void_p
)


class Slot(ctypes.Structure):
    _fields_ = [
        ("base", ctypes.c_void_p),
        ("heads", ctypes.c_void_p),
        ("verify", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("storage", ctypes.c_void_p),
        *((name, ctypes.c_size_t) for name in ("size", "filled", "wanted")),
        ("older", ctypes.c_bool),
        ("state", ctypes.c_int),
        ("head", LoadedHead),
    ]


class CNetwork(ctypes.Structure):
    _fields_ = [
        ("layers", ctypes.POINTER(Layer)),
        ("count", ctypes.c_uint16),
        ("odd_offset", ctypes.c_uint32),
        ("arena_bytes", ctypes.c_uint32),
    ]


@VERIFY
def verify(content, count, signature, context):
    try:
        KEY.public_key().verify(bytes(signature[:64]), bytes(content[:count]))
    except InvalidSignature:
        return False
    return True


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("head")
    return load(folder, "tflite")


def machine_section(features: int) -> bytes:
    """What an agent might have learned, of rank 0: all ones."""
    return struct.pack(f"<II{4 + 5 * features}f", features, 0, *[1.0] * (4 + 5 * features))


def load(folder: Path, profile: str) -> ctypes.CDLL:
    library = compile_shared(folder, SOURCES, write_config(folder, profile))
    library.fedtiny_crc32.restype = ctypes.c_uint32
    library.fedtiny_head_look.restype = ctypes.c_void_p
    library.fedtiny_nn_run.restype = ctypes.POINTER(ctypes.c_int8)
    return library


class Firmware:
    """One machine's heads and two slots of the size that an image of the release has."""

    def __init__(self, library: ctypes.CDLL, release, *, revision: int = 0, size: int | None = None) -> None:
        outputs, inputs = release.layers[-1].weights.shape
        self.library, self.heads = library, Heads()
        self.own = Layer(inputs=inputs, outputs=outputs)
        self.base = HeadBase(ctypes.pointer(self.own), bytes.fromhex(release.id), revision)
        rows, columns = -(-outputs // 4) * 4, -(-inputs // 16) * 16
        size = (
            size
            or 96 + 8 * rows + -(-outputs // 16) * 16 + rows * columns + -(-(24 + 20 * outputs) // 16) * 16 + 4 + 64
        )
        self.storage = [(ctypes.c_uint32 * (size // 4))() for _ in range(2)]
        self.slots = [Slot(), Slot()]
        for slot, storage in zip(self.slots, self.storage, strict=True):
            library.fedtiny_head_init(
                ctypes.byref(slot), ctypes.byref(self.base), ctypes.byref(self.heads), storage, ctypes.c_size_t(size)
            )

    def demand_signature(self) -> None:
        for slot in self.slots:
            self.library.fedtiny_head_demand(ctypes.byref(slot), verify, None)

    def begin(self, number: int = 0, *, older: bool = False) -> int:
        return self.library.fedtiny_head_begin(ctypes.byref(self.slots[number]), ctypes.c_bool(older))

    def write(self, data: bytes, number: int = 0) -> tuple[int, int]:
        used = ctypes.c_size_t()
        slot = ctypes.byref(self.slots[number])
        status = self.library.fedtiny_head_write(slot, data, ctypes.c_size_t(len(data)), ctypes.byref(used))
        return status, used.value

    def receive(self, data: bytes, piece: int | None = None, number: int = 0) -> tuple[int, bytes]:
        """Begin, then write ``data`` in pieces; (last status that is not MORE, what is left behind an image)."""
        assert self.begin(number) == OK
        said = MORE
        for at in range(0, len(data), piece or len(data)):
            status, used = self.write(data[at : at + (piece or len(data))], number)
            if status == OK:
                return OK, data[at + used :]
            said = said if status == MORE else status
        return said, b""

    def map(self, page: bytes, number: int = 0, *, shifted: int = 0) -> int:
        self.page = np.zeros(len(page) // 4 + 2, np.uint32)
        raw = self.page.view(np.uint8)
        raw[shifted : shifted + len(page)] = np.frombuffer(page, np.uint8)
        at = ctypes.c_void_p(self.page.ctypes.data + shifted)
        size = ctypes.c_size_t(len(page))
        return self.library.fedtiny_head_map(ctypes.byref(self.slots[number]), at, size, ctypes.c_bool(False))

    def apply(self, number: int = 0) -> int:
        return self.library.fedtiny_head_apply(ctypes.byref(self.slots[number]))

    def take(self) -> int | None:
        head = self.library.fedtiny_head_look(ctypes.byref(self.heads))
        self.library.fedtiny_head_use(ctypes.byref(self.heads), ctypes.c_void_p(head))
        return head

    def address(self, number: int = 0) -> int:
        return ctypes.addressof(self.slots[number]) + Slot.head.offset


@pytest.fixture
def firmware(runtime, release) -> Firmware:
    return Firmware(runtime, release)


@pytest.fixture(scope="session")
def head(release) -> Head:
    off = np.random.default_rng(3).normal(1, 0.1, release.head.weights.shape).astype(np.float32)
    return Head(release.head.weights * off, release.head.output_min * 1.2, release.head.output_max)


@pytest.fixture(scope="session")
def image(release, head) -> bytes:
    return write_image(
        release, head, 5, "tflite", fixed_point=False, machine=machine_section(len(head.weights)), key=KEY
    )


def mended(image: bytes) -> bytes:
    """``image`` with good checksums, its signature left as it is."""
    tail = 64 if image[70] == 1 else 0
    image = image[:92] + struct.pack("<I", zlib.crc32(image[:92])) + image[96:]
    body = image[: len(image) - tail - 4]
    return body + struct.pack("<I", zlib.crc32(body)) + image[len(image) - tail :]


def test_crc_is_zlibs(runtime, rng):
    data = rng.bytes(1000)
    first = runtime.fedtiny_crc32(0, data, ctypes.c_size_t(333))
    assert first == zlib.crc32(data[:333])
    assert runtime.fedtiny_crc32(ctypes.c_uint32(first), data[333:], ctypes.c_size_t(667)) == zlib.crc32(data)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 22, 95, 96, 97, 1000, 1 << 20])
def test_pieces_of_any_size_behind_any_noise(firmware, image, rng, piece):
    firmware.demand_signature()
    noise = rng.bytes(500) + b"fedtiny/v1 head imagfedtiny/v1 head image\0" + rng.bytes(60) + image[:50]
    status, rest = firmware.receive(noise + image + b"behind", piece)
    assert (status, rest) == (OK, b"behind")
    assert bytes(firmware.storage[0])[: len(image)] == image
    got = firmware.slots[0].head
    assert (got.revision, got.codes.step) == (5, read_image(image).step)
    assert ctypes.string_at(got.machine, got.machine_bytes) == read_image(image).machine != b""


def test_a_cut_image_does_not_take_the_next_one_along(firmware, image, rng):
    for cut in [0, 1, 21, 22, 95, 96, 97, *rng.integers(98, len(image), 12)]:
        status, rest = firmware.receive(image[:cut] + image + image, 64)
        assert status == OK
        assert rest == image, "the first whole one was lost"


def test_an_image_within_a_damaged_one_is_found(runtime, release, head, image):
    firmware = Firmware(runtime, release, size=3 * len(image))
    inner = write_image(release, head, 6, "tflite", fixed_point=False)
    claimed = bytearray(write_image(release, head, 7, "tflite", fixed_point=False, machine=bytes(2 * len(inner))))
    at = len(inner) - 4  # where its machine section begins
    claimed[at + 5 : at + 5 + len(inner)] = inner
    status, _ = firmware.receive(bytes(claimed), 100)
    assert (status, firmware.slots[0].head.revision) == (OK, 6)


def test_every_flipped_bit_is_refused(firmware, image, rng):
    header = [(at, bit) for at in range(96) for bit in range(8)]
    body = [(int(at), int(rng.integers(8))) for at in rng.integers(96, len(image) - 64, 400)]
    for at, bit in header + body:
        damaged = bytearray(image)
        damaged[at] ^= 1 << bit
        assert firmware.map(bytes(damaged)) in (FORMAT, CHECKSUM), (at, bit)
    for at, bit in (*header[::50], *body[::20]):
        damaged = bytearray(image)
        damaged[at] ^= 1 << bit
        assert firmware.receive(bytes(damaged))[0] in (MORE, CHECKSUM), (at, bit)
        assert firmware.apply() == NOT_READY


WRONG = {  # what is written where, and how an image with it is refused
    "format": (22, b"\2\0", FORMAT),
    "shorter than it should be": (24, b"\x60\0\0\0", SIZE),
    "longer than its slot": (24, b"\0\0\0\x7f", SIZE),
    "older": (28, b"\3\0\0\0", OLD),
    "release": (32, b"\xff\xff", RELEASE),
    "inputs": (64, b"\1\0", SIZE),
    "outputs": (66, b"\xff\xff", SIZE),
    "rounding": (68, b"\1", RELEASE),
    "number type": (69, b"\1", RELEASE),
    "signed otherwise": (70, b"\2", FORMAT),
    "range upside down": (72, b"\x7f\x80", FORMAT),
    "something not known yet": (84, b"\1", FORMAT),
    "something else not known yet": (75, b"\1", FORMAT),
    "step not a number": (76, struct.pack("<f", float("nan")), FORMAT),
    "step infinite": (76, struct.pack("<f", float("inf")), FORMAT),
    "step 0": (76, bytes(4), FORMAT),
    "endless machine": (80, b"\xff\xff\xff\xff", SIZE),
    "bias that overflows": (96, struct.pack("<i", 2**31 - 1), FORMAT),
    "bias of the least value": (96, struct.pack("<i", -(2**31)), FORMAT),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_under_good_checksums(runtime, release, image, what):
    at, value, status = WRONG[what]
    firmware = Firmware(runtime, release, revision=4)
    wrong = mended(image[:at] + value + image[at + len(value) :])
    assert firmware.receive(wrong)[0] == status
    assert firmware.map(wrong) == status


def test_multipliers_and_shifts_under_good_checksums(firmware, release, image):
    rows = -(-release.layers[-1].weights.shape[0] // 4) * 4
    for at, value in ((96 + 4 * rows, b"\0\0\0\x80"), (96 + 8 * rows, b"\x1f"), (96 + 8 * rows, b"\xe0")):
        assert firmware.map(mended(image[:at] + value + image[at + len(value) :])) == FORMAT


def test_larger_than_its_slot(runtime, release, image):
    assert Firmware(runtime, release, size=len(image) - 64).receive(image)[0] == SIZE
    assert Firmware(runtime, release, size=92).begin() == ARGUMENT


def test_signature(firmware, release, head, image):
    unsigned = write_image(release, head, 5, "tflite", fixed_point=False)
    assert firmware.receive(image)[0] == OK
    assert firmware.receive(unsigned)[0] == OK
    firmware.demand_signature()
    forged = write_image(release, head, 5, "tflite", fixed_point=False, key=Ed25519PrivateKey.generate())
    flipped = image[:-1] + bytes([image[-1] ^ 1])
    for bad in (unsigned, forged, flipped, mended(image[:28] + b"\6" + image[29:])):
        assert firmware.receive(bad)[0] == SIGNATURE
        assert firmware.map(bad) == SIGNATURE
    assert firmware.receive(image)[0] == OK
    assert firmware.map(image) == OK


def test_page_of_flash(firmware, image):
    assert firmware.map(image + b"\xff" * 500) == OK
    assert firmware.slots[0].head.layer.bias == firmware.page.ctypes.data + 96  # in place
    assert firmware.map(image[:-1]) == SIZE
    assert firmware.map(image[:95]) == FORMAT
    assert firmware.map(b"\xff" * 4096) == FORMAT
    assert firmware.map(image, shifted=2) == ARGUMENT


def test_a_head_in_use_is_never_written(firmware, release, head, image):
    assert firmware.take() is None
    assert firmware.apply() == NOT_READY
    assert firmware.receive(image)[0] == OK
    assert firmware.write(image)[0] == IN_USE  # complete: to be begun anew
    assert firmware.apply() == OK
    assert firmware.begin(0) == IN_USE  # before the next window already
    assert firmware.take() == firmware.address(0)
    assert firmware.map(image) == IN_USE

    newer = write_image(release, head, 6, "tflite", fixed_point=False)
    assert firmware.receive(newer, 100, number=1)[0] == OK
    assert firmware.take() == firmware.address(0)
    assert firmware.apply(1) == OK
    assert (firmware.begin(0), firmware.begin(1)) == (IN_USE, IN_USE)  # until the next window begins
    assert firmware.take() == firmware.address(1)
    assert (firmware.begin(0), firmware.begin(1)) == (OK, IN_USE)


def test_older_heads_only_where_they_are_asked_for(firmware, release, head, image):
    older = write_image(release, head, 4, "tflite", fixed_point=False)
    assert firmware.receive(older, number=1)[0] == OK  # while the network's own, 0, is in use
    assert (firmware.receive(image)[0], firmware.apply(0)) == (OK, OK)
    assert firmware.apply(1) == OLD  # by now
    assert firmware.receive(older, number=1)[0] == OLD
    assert firmware.begin(1, older=True) == OK
    assert (firmware.write(older, 1)[0], firmware.apply(1), firmware.take()) == (OK, OK, firmware.address(1))
    firmware.library.fedtiny_head_revert(ctypes.byref(firmware.heads))
    assert firmware.take() is None


@pytest.mark.parametrize("profile", ["tflite", "tflm", "xnn"])
def test_a_loaded_head_computes_as_the_patched_model(tmp_path, release, head, rng, profile):
    firmware = Firmware(load(tmp_path, profile), release)
    assert firmware.receive(write_image(release, head, 1, profile, fixed_point=False), 77)[0] == OK
    layer = read_network(release.patched(head), "patched").layers[-1]
    inputs = rng.integers(-128, 128, (1000, layer.weights.shape[1]), dtype=np.int8)
    room = -(-inputs.shape[1] // 16) * 16
    network = CNetwork(ctypes.pointer(firmware.own), 1, room, room + -(-layer.weights.shape[0] // 16) * 16)
    arena = np.zeros(network.arena_bytes + 16, np.int8)
    got = np.empty((len(inputs), layer.weights.shape[0]), np.int8)
    for row, values in enumerate(inputs):
        arena[: len(values)] = values
        out = firmware.library.fedtiny_nn_run(
            ctypes.byref(network), ctypes.byref(firmware.slots[0].head.layer), arena.ctypes.data_as(ctypes.c_void_p)
        )
        got[row] = out[: got.shape[1]]
    np.testing.assert_array_equal(got, rounding.run(Network((layer,)), profile, inputs))


@pytest.mark.parametrize(("profile", "fixed_point"), [("tflite", True), ("xnn", False)])
def test_streams_by_chance_under_gccs_sanitizers(tmp_path, profile, fixed_point):
    config = write_config(tmp_path, profile, fixed_point=fixed_point)
    program = tmp_path / "streams"
    flags = [*WARNINGS, "-O1", *SANITIZE, "-DFUZZ_ALONE", f"-I{config}", f"-I{RUNTIME}"]
    run([tool("gcc"), *flags, Path(__file__).with_name("fuzz_head.c"), *SOURCES, "-o", program])
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_nothing_found_by_libfuzzer(tmp_path):
    program = fuzz_firmware.build(tmp_path, "tflite", 0, tool("clang"))
    found = fuzz_firmware.fuzz(program, 10, 1, tmp_path / "crashes")
    assert not found.finding, found.finding
    assert found.executions > 500
