"""Tickets and keys: the KMS asked, tickets made, replays seen."""
