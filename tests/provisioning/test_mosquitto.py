from pathlib import Path

import pytest

from fedtiny.provisioning.fleet import add_operator, init_fleet
from fedtiny.provisioning.mosquitto import DURABLE

SHIPPED = Path(__file__).parents[2] / "broker"


@pytest.mark.parametrize(
    ("shipped", "made"),
    [("mosquitto-tls.conf", "mosquitto.conf"), ("acl-devices", "acl-devices"), ("acl-staff", "acl-staff")],
)
def test_the_files_in_the_repository_are_those_of_a_new_fleet(tmp_path, shipped, made):
    init_fleet(tmp_path / "plant", "plant", "broker.plant.example")
    assert (SHIPPED / shipped).read_text() == (tmp_path / "plant" / "broker" / made).read_text()


def test_with_certificates_or_without_messages_are_kept_alike():
    assert (SHIPPED / "mosquitto.conf").read_text().endswith(DURABLE)


def test_the_access_list_follows_the_staff(tmp_path):
    init_fleet(tmp_path / "plant", "plant", "broker.plant.example")
    add_operator(tmp_path / "plant", "night-shift")
    users = (tmp_path / "plant" / "broker" / "acl-staff").read_text().split("\n\n")
    assert [user.splitlines()[0] for user in users] == ["user coordinator", "user operator", "user night-shift"]
    assert users[1].splitlines()[1:] == users[2].splitlines()[1:]


def test_a_fleet_with_one_port_has_nothing_for_mosquitto(tmp_path):
    init_fleet(tmp_path / "plant", "plant", "127.0.0.1", port=8883, staff_port=8883)
    assert not {"mosquitto.conf", "acl-devices", "acl-staff"} & {p.name for p in (tmp_path / "plant/broker").iterdir()}
