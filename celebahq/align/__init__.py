"""From a photo to an aligned face: landmarks, quad, crop, padding, and how good the result is."""
