"""The datasets: their table, their versions, and how the wanted ones get into the project."""
