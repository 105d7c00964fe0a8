"""Learning an audio embedding from video: which second and which frame belong together."""
