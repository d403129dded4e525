"""Tables as people have them: what separates columns, how numbers and dates are written."""
