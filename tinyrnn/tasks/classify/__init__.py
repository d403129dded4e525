"""Classification of texts: sentiment and other labels."""
