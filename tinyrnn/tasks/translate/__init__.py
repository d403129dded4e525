"""Any sequence of symbols to another."""
