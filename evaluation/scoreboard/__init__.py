"""`viewmill bench methods`: every method on the same small budget, in one table that cannot flatter."""
