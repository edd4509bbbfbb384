"""Charts and tables; the only room that draws."""
