"""The floors: policies, decisions, and the media that follow them."""
