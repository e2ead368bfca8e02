"""What the focus remembers: conferences, calls and floors, as plain values."""
