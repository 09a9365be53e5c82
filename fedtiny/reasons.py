"""What the settings of a device are for, in the words that its operator reads, and examples where there is no default.

Keys are those of ``fedtiny.toml``; ``source.<kind>.<name>`` goes before ``source.<name>``.
"""

from typing import Any

REASONS: dict[str, str] = {
    "fleet": "Devices of one fleet run the same release and learn together. Lower-case letters, digits, - and _.",
    "device": "This device; no other of the fleet may have the same id. Lower-case letters, digits, - and _.",
    "state": "Folder for all that must survive a restart. One device each; on a disk, not in /tmp. Without it: "
    "state/ and the device's id, below where the agent is started.",
    "broker": "The MQTT broker that the fleet meets at.",
    "broker.host": "Its name or address.",
    "broker.port": "Its TCP port.",
    "broker.username": "As the broker's administrator gave it. Not set: without a name.",
    "broker.password": "It goes over the network as it is where there is no ca. Keep this file readable by the agent "
    "alone.",
    "broker.ca": "Certificate of the authority that has signed the broker's (PEM file): the connection is encrypted. A "
    "file named without a leading / lies beside this one.",
    "broker.certificate": "This device's certificate, for a broker that asks for one (PEM file).",
    "broker.key": "The private key that belongs to it (PEM file), readable by the agent alone.",
    "trust": "Who is believed, by signature. Where no key stands: everybody whom the broker lets publish.",
    "trust.coordinator": "Public keys (Ed25519, base64) whose releases, heads and rounds are followed; none other are.",
    "trust.operator": "Public keys whose commands are obeyed; none other are.",
    "trust.devices": "Authority whose devices' signed updates a coordinator takes. Of no use to a device.",
    "trust.key": "The private key that this device signs its updates with, where the fleet asks for that.",
    "trust.certificate": "The certificate that goes with signed updates, and says whose that key is.",
    "source.replay": "Where the samples come from: recordings played again, or the simulator.",
    "source.folder": "Where the samples come from: a folder that recordings are put into.",
    "source.iio": "Where the samples come from: an accelerometer of this computer's Linux IIO.",
    "source.mqtt": "Where the samples come from: a sensor node that publishes frames.",
    "source.serial": "Where the samples come from: a sensor on a serial port.",
    "source.stdin": "Where the samples come from: the agent's standard input.",
    "source.rows": "Where the samples come from: a table of ready-made features.",
    "source.kind": "What kind of source it is; each kind has settings of its own.",
    "source.sample_rate_hz": "Samples a second of each channel, in Hz: what the sensor really does, and what the "
    "fleet's release was trained with.",
    "source.channels": "Names of the channels in the order of the samples; as many as the release has.",
    "source.speed_hz": "Turns of the shaft a second, in Hz, where it never changes: alarms then name orders of it.",
    "source.point": "Name of the operating point, where it never changes.",
    "source.silent_s": "Seconds without a sample until the sensor counts as faulty: more than the pauses of a sound "
    "one.",
    "source.replay.data": "File or folder of the recordings. Not set: the simulator.",
    "source.replay.machine": "Which machine of the data. Not set: the one that is called like this device.",
    "source.replay.seed": "Of the simulator; the same seed gives the same signals.",
    "source.replay.speed": "1: as fast as it was recorded; 10: ten times; 0: as fast as it goes.",
    "source.replay.skip": "Recordings to leave out at the beginning.",
    "source.replay.repeat": "How many times it is played; 0: again and again, without end.",
    "source.folder.path": "The folder. Files are read in the order of their names, each once.",
    "source.folder.silent_s": "Seconds without a new file until the sensor counts as faulty. Not set: never.",
    "source.folder.poll_s": "Seconds between two looks for new files.",
    "source.iio.device": "The sensor's name, as in /sys/bus/iio/devices/*/name, or its folder's name.",
    "source.iio.channels": "Axes to read, in the order of the release's channels.",
    "source.iio.trigger": "Name of the trigger that starts each scan, for a sensor that has none of its own.",
    "source.mqtt.continuous": "Whether each frame goes on where the last one ended; not so: each is a snapshot.",
    "source.mqtt.topic": "Topic that the sensor node publishes on; no wildcards.",
    "source.broker": "Another broker than the fleet's, where the sensor node publishes to one of its own.",
    "source.format": "How the samples are written: csv, a line a sample; binary, frames with a checksum.",
    "source.scale": "Physical units of one step of the integers in binary frames.",
    "source.serial.port": "The serial port; names below /dev/serial/by-id stay the same when cables are moved.",
    "source.serial.baud": "Bits a second on the line. It must carry the channels at their rate.",
    "source.rows.time": "Column that holds the time of each row. Not set: none.",
    "source.rows.path": "The table: CSV with a header, a row a snapshot; .gz too.",
    "source.rows.channels": "Columns to use. Not set: all.",
    "source.rows.sample_rate_hz": "Rows a second, in Hz.",
    "edge": "The agent.",
    "edge.runtime": "What runs the model: litert, tflite (tflite-runtime), or auto: the first of them that is "
    "installed.",
    "edge.learn_windows": "Windows taken as normal at the beginning, before anything is scored. The machine must be "
    "healthy meanwhile and go through what it does in normal life; more windows make the threshold surer.",
    "edge.buffer_windows": "Most recent normal windows kept to learn from. More cost memory, 4 bytes a feature.",
    "edge.false_alarm_rate": "Share of normal windows that may reach the threshold. Lower: fewer false alarms, and "
    "faults are seen later.",
    "edge.false_alarms_per_month": "The same budget as alarms a month, in the place of the share; it needs every_s.",
    "edge.every_s": "Seconds from one scored window to the next. A live source that gives more windows has the others "
    "left out. Not set: all are scored.",
    "edge.alarm_votes": "Windows over the threshold, among the last alarm_window, that raise an alarm.",
    "edge.alarm_window": "Windows that vote.",
    "edge.alarm_clear": "Share of the threshold below which a window is quiet: an alarm ends when the last "
    "alarm_window windows are. Lower: an alarm that hovers around the threshold stands longer and returns less often.",
    "edge.alarm_hold_s": "Seconds between two reports of an alarm that still stands.",
    "edge.operating_points": "Speeds and loads to tell apart, at most, where the source names none; each gets a "
    "threshold of its own. 1: the machine always runs alike.",
    "edge.personal_head": "Whether the device may keep a model of its own where that does better on its own windows "
    "than the fleet's.",
    "edge.evidence_files": "Alarms whose windows are kept in the state folder; then the oldest goes. 0: none.",
    "edge.score_every": "Windows that one published summary of scores stands for. Fewer mean more traffic.",
}

EXAMPLES: dict[str, Any] = {
    "source.folder.silent_s": 86400.0,
    "source.rows.time": "timestamp",
    "device": "pump-07",
    "state": "/var/lib/fedtiny",
    "broker.username": "pump-07",
    "broker.password": "secret",
    "broker.ca": "ca.pem",
    "broker.certificate": "certificate.pem",
    "broker.key": "key.pem",
    "trust.devices": "devices-ca.pem",
    "trust.key": "key.pem",
    "trust.certificate": "certificate.pem",
    "edge.false_alarms_per_month": 1,
    "edge.every_s": 10,
    "source.sample_rate_hz": 3200,
    "source.channels": ["x", "y", "z"],
    "source.speed_hz": 24.8,
    "source.replay.data": "recordings",
    "source.replay.machine": "pump-07",
    "source.folder.path": "/var/spool/fedtiny",
    "source.iio.device": "adxl345",
    "source.iio.trigger": "hrtimer0",
    "source.mqtt.topic": "sensors/pump-07/frames",
    "source.serial.port": "/dev/ttyUSB0",
    "source.rows.path": "features.csv",
    "source.rows.channels": ["rms", "kurtosis"],
}
