"""A sequence: pictures to packets and back."""
