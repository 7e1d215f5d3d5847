"""What every part of the project uses; standard library only."""
