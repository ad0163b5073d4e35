"""What a model holds: embedding tables that look up, remember, and are trained by the rows that were used."""
