"""The training itself: session, loop, steps, data, and what happens between ticks."""
