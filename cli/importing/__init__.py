"""`journeys import`: a shop's customers, with what they allow, from a file."""
