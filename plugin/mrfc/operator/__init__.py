"""What an operator asks over HTTP: what is, what shall be, the page."""
