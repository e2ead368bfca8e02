"""Trunks: who may send requests, what they have to prove, and our own credentials towards them."""
