"""To the Hub: what a trainer uploads, and the model card that goes with it."""
