"""A node of a cluster on an event loop: what `casty_proto.cluster.Node` decides is carried out here."""
