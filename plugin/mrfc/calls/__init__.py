"""The calls: from a request to a standing dialog and its end, in both directions."""
