"""How good is it: protocols, metrics, intervals."""
