"""What the papers published, one file a kind of method; no torch here."""
