"""What is done with cells and runs from outside: compare, check, bench, inspect, export, scaffold."""
