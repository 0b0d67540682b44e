"""What a training run says about the labels."""
