"""Conditions: what makes samples bad. One file a kind, named after the kind."""
