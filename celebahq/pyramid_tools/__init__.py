"""What can be done with a finished pyramid: describe, verify and compare it, take images out of it."""
