"""The mixer: a second dialog for what a participant offers beside BFCP, and what keeps the two in step."""
