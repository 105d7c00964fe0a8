"""Training the networks that tell whether sound and picture belong together."""
