"""The MRFPs: their associations, the procedures of Mp, the BFCP terminations of the calls."""
