"""What is done with a trained generator."""
