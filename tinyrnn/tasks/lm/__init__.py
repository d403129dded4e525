"""Language models over characters, bytes or words."""
