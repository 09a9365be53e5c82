"""fedtiny: federated condition monitoring for rotating machines at the edge.

The pipeline, in reading order:

    signal      samples -> windows -> log band energies
    trainer     base data -> autoencoder -> int8 release      (TensorFlow, one machine)
    model       release -> reconstruction -> anomaly score    (the device)
    federation  local head -> update -> round -> new head     (pure functions and state machines)
    protocol    messages <-> bytes, topics
    transport   MQTT
    edge, coordinator, monitor, broker, demo                  the processes
"""

__version__ = "0.1.0"
