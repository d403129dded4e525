"""From the user's files to windows of token ids."""
