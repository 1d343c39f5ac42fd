"""How good recommendations are: evaluation protocols, metrics, confidence intervals."""
