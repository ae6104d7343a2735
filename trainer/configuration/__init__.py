"""What a run is to do: settings, their files, presets, and the schedule."""
