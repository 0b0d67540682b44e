"""To the Hub and back: what is uploaded, model cards, and pushing later what could not be pushed at once."""
