"""A Flower app: the head of a fedtiny release under federated averaging."""
