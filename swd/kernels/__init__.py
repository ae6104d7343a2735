"""What OpenCV does far faster on a CPU than torch's operations, with the same results."""
