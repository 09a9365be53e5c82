import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.page.scale import section
from benchmarks.page.style import save
from benchmarks.scale import light_mqtt as mqtt
from benchmarks.scale.bench import Round, floors, slopes


def case(devices, broker="embedded", *, strategy="fedavg", screening=True, missing=0):
    spread = {"median": devices / 1000, "p10": devices / 1100, "p90": devices / 900, "n": 5}
    memory = {"before_rss_mb": 60.0, "peak_rss_mb": 70 + devices / 1e3, "after_rss_mb": 65.0, "after_pss_mb": 50.0}
    return {
        "devices": devices,
        "broker": broker,
        "strategy": strategy,
        "screening": screening,
        "rounds": 6,
        "update_bytes": 20_200,
        "round_s": spread,
        "after_last_upload_s": spread,
        "steps_s": {"uploads": 0.2, "intake": 0.8, "head": 0.4, "delivery": 0.3},
        "cpu_s_a_round": {"coordinator": devices / 1000, "broker": devices / 500, "devices": 0.1},
        "cores": {"coordinator": 0.8, "broker": 0.6, "devices": 0.1},
        "memory": {"coordinator": memory, "broker": memory, "devices": memory},
        "until_all_are_ready_s": 5.0,
        "acknowledged": 6 * devices,
        "missing": missing,
        "thrown_out": 0,
        "subscriptions_refused": 0,
    }


CASES = [case(100), case(1000), case(5000), case(1000, "mosquitto"), case(1000, strategy="ridge")]


@pytest.mark.parametrize("cases", [CASES, [case(100), case(500), case(1000, missing=3)]])
def test_the_section_says_what_was_measured_and_its_pictures_can_be_drawn(cases, tmp_path):
    a_device = slopes(cases)
    promised = [vars(floor) | {"met": floor.met} for floor in floors(cases, a_device)]
    made = section({"cases": cases, "a_device_more": a_device, "floors": promised})
    assert "1,000 devices" in made.lead
    assert made.figures["scale_after_upload"] == "1.00 s"
    assert ("| **short** |" in made.body) == any(one["missing"] for one in cases)
    for picture in made.pictures:
        save(picture.figure, tmp_path / f"{picture.name}.svg")


def test_a_device_more_costs_what_the_fleets_of_one_kind_say():
    found = slopes(CASES)
    assert found["coordinator_cpu_ms"] == pytest.approx(1)
    assert found["coordinator_bytes"] == pytest.approx(1000)


def test_one_update_that_is_missing_is_one_too_many():
    kept = floors([case(1000), case(5000)], {"coordinator_bytes": 10.0})
    assert [floor.met for floor in kept] == [True, True, True]
    lost = floors([case(1000, missing=1), case(5000)], {"coordinator_bytes": 2500.0})
    assert [floor.met for floor in lost] == [True, False, False]


def test_the_steps_of_a_round_are_its_whole():
    one = Round(opened=1.0, sent=1.25, taken=2.0, made=2.5, headed=3.0)
    assert one.steps == [0.25, 0.75, 0.5, 0.5]


@given(
    sizes=st.lists(st.integers(0, 20_000) | st.sampled_from([120, 121, 16_370]), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 9_000), max_size=30),
)
def test_packets_come_whole_out_of_whatever_pieces_they_came_in(sizes, cuts):
    sent = [mqtt.publish(f"fleet/{n}", b"x" * size, n + 1) for n, size in enumerate(sizes)]
    stream, reader, found = b"".join([*sent, mqtt.puback(7)]), mqtt.Reader(), []
    while stream:
        cut = cuts.pop() if cuts else len(stream)
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert [(one.topic, one.number, len(one.payload)) for one in found[:-1]] == [
        (f"fleet/{n}", n + 1, size) for n, size in enumerate(sizes)
    ]
    assert found[-1] == mqtt.Packet(mqtt.PUBACK, 7)


def test_what_is_no_packet_is_said():
    with pytest.raises(ValueError, match="more than four bytes"):
        list(mqtt.Reader().feed(b"\x30\xff\xff\xff\xff\x7f"))
