"""What kinds of probes share: their contract in `base`, and the formats that several of them read."""
